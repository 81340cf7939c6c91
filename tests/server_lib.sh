# SPDX-License-Identifier: Apache-2.0
#
# For tests of the server as a process: sourced with the arguments DISPATCH ENDPOINT, the program
# and tests/smoke_endpoint. It makes the directory $dir, which goes at the end with everything
# started.
dispatch=$1 endpoint=$2
command -v curl >/dev/null || { echo "curl is not installed"; exit 77; }

dir=$(mktemp -d)
store=$dir/store.db
server_pid='' endpoint_pid=''
export DISPATCH_CONFIG_PATH="$dir/config.toml" # that of nobody else
clean_up() {
    status=$?
    [ -z "$server_pid" ] || kill -KILL "$server_pid" 2>/dev/null || :
    [ -z "$endpoint_pid" ] || kill -KILL "$endpoint_pid" 2>/dev/null || :
    [ "$status" = 0 ] || sed 's/^/server: /' "$dir"/log.* 2>/dev/null || :
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT

fail() { echo "failed: $*"; exit 1; }
has() { case $1 in *"$2"*) ;; *) fail "no '$2' in: $1" ;; esac; }

# start N OPTION...: the N-th server, logging to log.N; sets $api
start() {
    n=$1
    shift
    rm -f "$dir/ready"
    mkfifo "$dir/ready"
    "$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$store" --ready-fd 3 \
        --log-level debug "$@" 3>"$dir/ready" 2>"$dir/log.$n" &
    server_pid=$!
    read -r address <"$dir/ready" || fail "server $n did not start"
    api=http://$address
}
# stopped STATUS: waits for the server, which ends with that status
stopped() {
    status=0
    wait "$server_pid" || status=$?
    server_pid=''
    [ "$status" = "$1" ] || fail "the server ended with status $status, not $1"
}
post() { curl -sS -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
    -d "$2" "$api/$1"; }
# dispatch FUNCTION: one call of it with the text $input
dispatch() {
    echo "{\"calls\":[{\"endpoint\":\"$scheme://$functions\",\"function\":\"$1\",\"input\":
        {\"@type\":\"type.googleapis.com/google.protobuf.StringValue\",\"value\":\"$input\"}}]}" |
        post dispatch.sdk.v1.DispatchService/Dispatch @-
}
only_id() { sed -n 's/.*"dispatchIds": *\["\([0-9a-z]*\)"\].*/\1/p'; }
wait_for() { post dispatch.v1.CallService/Wait "{\"dispatchId\":\"$1\"}"; }
# start_endpoint [CERT KEY]: sets $functions, its address, and $scheme; each run is a line on
# descriptor 4
start_endpoint() {
    mkfifo "$dir/runs"
    "$endpoint" "$@" >"$dir/runs" &
    endpoint_pid=$!
    exec 4<"$dir/runs"
    scheme=http
    [ $# = 0 ] || scheme=https
    read -r functions <&4 || fail "the endpoint did not start"
}
