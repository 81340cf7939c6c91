#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The server as a process: a call goes in by curl, is run by an endpoint, and its result comes out;
# SIGTERM ends it cleanly, and the next start finds what the last one knew; a second signal ends it
# at once.
#
# usage: server_smoke_test.sh DISPATCH ENDPOINT
set -eu
dispatch=$1 endpoint=$2
command -v curl >/dev/null || { echo "curl is not installed"; exit 77; }

dir=$(mktemp -d)
server_pid='' endpoint_pid=''
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
    "$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$dir/store.db" --ready-fd 3 \
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
dispatch() { post dispatch.sdk.v1.DispatchService/Dispatch \
    "{\"calls\":[{\"endpoint\":\"http://$functions\",\"function\":\"$1\",\"input\":$hello}]}"; }
only_id() { sed -n 's/.*"dispatchIds": *\["\([0-9a-z]*\)"\].*/\1/p'; }
wait_for() { post dispatch.v1.CallService/Wait "{\"dispatchId\":\"$1\"}"; }

hello='{"@type":"type.googleapis.com/google.protobuf.StringValue","value":"hello, world"}'
key=good

mkfifo "$dir/runs"
"$endpoint" >"$dir/runs" &
endpoint_pid=$!
exec 4<"$dir/runs"
read -r functions <&4 || fail "the endpoint did not start"

DISPATCH_API_KEYS=other,good start 1 --grace 0s
has "$(curl -sS "$api/healthz")" alive
has "$(curl -sS "$api/readyz")" ready
key=bad
has "$(dispatch echo)" unauthenticated
key=good
id=$(dispatch echo | only_id)
[ -n "$id" ] || fail "no id"
result=$(wait_for "$id")
has "$result" STATE_DONE
has "$result" STATUS_OK
has "$result" "hello, world"
read -r ran <&4
[ "$ran" = "echo $id" ] || fail "$ran"
has "$(wait_for "$(dispatch fail | only_id)")" STATUS_PERMANENT_ERROR
read -r ran <&4
hanging=$(dispatch hang | only_id)
read -r ran <&4
[ "$ran" = "hang $hanging" ] || fail "$ran"
if "$dispatch" server --insecure --listen 127.0.0.1:0 --store "sqlite:$dir/store.db" 2>"$dir/second"
then
    fail "two servers on one store"
fi
kill -TERM "$server_pid"
stopped 0
! grep -e good -e "hello, world" "$dir/log.1" || fail "a key or a payload was logged"

start 2 --api-key good --grace 60s
grep -q 'msg="ready".* recovered=1 ' "$dir/log.2" || fail "the unfinished call was not found"
has "$(wait_for "$id")" "hello, world"
read -r ran <&4
[ "$ran" = "hang $hanging" ] || fail "$ran"
has "$(post dispatch.v1.CallService/Get "{\"dispatchId\":\"$hanging\"}")" STATE_RUNNING

# The endpoint will not answer, so the server stays for its grace, unless told again.
kill -TERM "$server_pid"
until curl -sS "$api/readyz" | grep -q stopping; do :; done
kill -TERM "$server_pid"
stopped 143

start 3 --api-key good --grace 60s
read -r ran <&4
[ "$ran" = "hang $hanging" ] || fail "$ran"
kill -KILL "$server_pid"
stopped 137
