#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A function that dies between a Dispatch that it made and its own commit makes it once: its two
# calls run once each, and it gets their ids when it runs again.
#
# usage: dispatching_test.sh DISPATCH DISPATCHING_APP
set -eu
dispatch=$1 app=$2
dir=$(mktemp -d)
server='' serving=''

clean_up() {
    for process in $serving $server; do kill -KILL "$process" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap clean_up EXIT

fail() {
    echo "failed: $*"
    cat "$dir/log"
    exit 1
}

# start STORE: a server; sets $server, and $address to where it listens
start() {
    mkfifo "$dir/ready"
    "$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$dir/$1" --api-key secret \
        --ready-fd 3 3>"$dir/ready" 2>>"$dir/log" &
    server=$!
    read -r address <"$dir/ready" || fail "the server did not start"
    rm "$dir/ready"
}

unset DISPATCH_API_URL DISPATCH_STORE DISPATCH_REPLAY
# A port that nobody else has: one that the system gave to a server that is gone.
start other.db
DISPATCH_ENDPOINT_ADDR=127.0.0.1:${address##*:}
kill -KILL "$server"
wait "$server" 2>/dev/null || :
start test.db
DISPATCH_API_URL=http://$address
DISPATCH_API_KEY=secret
DISPATCH_ENDPOINT_URL=http://$DISPATCH_ENDPOINT_ADDR
export DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_ENDPOINT_ADDR DISPATCH_ENDPOINT_URL

for function in coroutine primitive; do
    "$app" call "$function" 2>"$dir/call" &
    caller=$!
    status=0
    timeout 60 "$app" die "$dir" 2>>"$dir/log" || status=$?
    [ "$status" = 9 ] || fail "$function did not die but ended with $status"
    "$app" serve "$dir" 2>>"$dir/log" &
    serving=$!
    wait "$caller" || fail "$(cat "$dir/call")"
    runs=$(wc -l <"$dir/$function.runs")
    [ "$runs" = 2 ] || fail "the two calls of $function ran $runs times"
    kill -KILL "$serving"
    wait "$serving" 2>/dev/null || :
    serving=''
done
