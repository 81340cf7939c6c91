#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Call and Wait outlive their clients and the server: whoever lost an answer asks for it again. And
# the log tells one call's life to whoever greps for its id, in both formats.
#
# usage: call_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"

input=hello
key=good

# call FUNCTION [MORE]: a Call of it, with MORE members of the request
call() {
    post dispatch.v1.CallService/Call "{\"call\":{\"endpoint\":\"http://$functions\",
        \"function\":\"$1\",\"input\":{
        \"@type\":\"type.googleapis.com/google.protobuf.StringValue\",\"value\":\"$input\"}}${2:-}}"
}
# next_run FUNCTION: waits for a run of it; sets $id and $request
next_run() {
    read -r ran id request <&4
    [ "$ran" = "$1" ] || fail "not a run of $1: $ran $id"
}
# client FUNCTION ARGUMENT...: runs it, whose last command is a curl, in the background, as the
# process $client_pid; its output goes to client.out
client() {
    (
        curl() { exec curl "$@"; }
        "$@"
    ) >"$dir/client.out" 2>&1 &
    client_pid=$!
}
# life FILE: what the lines of the log about the call $id say, in order
life() {
    grep -e "call=$id" -e "\"call\":\"$id\"" "$1" | tr -d '"' | tr ',:' ' =' |
        sed -e 's/.*msg=\(.*\) call=[^ ]* from=\([a-z]*\) to=\([a-z]*\).*/\1 \2 \3/' \
            -e 's/.*msg=\(.*\) call=.*/\1/'
}
cat >"$dir/expected" <<EOF
call new ready
call dispatched
call ready running
run
run answered
call running done
EOF

start_endpoint
start 1 --api-key good
result=$(call echo)
next_run echo
has "$result" "$id"
has "$result" STATE_DONE
has "$result" hello
life "$dir/log.1" | diff "$dir/expected" - || fail 'the log does not tell the life of the call'
grep -q "run answered.* request=$request " "$dir/log.1" || fail "no $request in the log"

# A client that goes away.
client call hang_once
next_run hang_once
kill -KILL $client_pid
wait $client_pid || :
# The server dies, with a Call and a Wait under way.
client wait_for "$id"
until grep -q 'client went away' "$dir/log.1"; do sleep 0.02; done
kill -KILL "$server_pid"
stopped 137
wait $client_pid || :
start 2 --api-key good --log-format json
has "$(wait_for "$id")" STATE_DONE
first=$id
next_run hang_once
[ "$id" = "$first" ] || fail "another call was run: $id"

client call hang
next_run hang
kill -KILL "$server_pid"
stopped 137
wait $client_pid || :
start 3 --api-key good --log-format json --grace 0s
has "$(post dispatch.v1.CallService/Get "{\"dispatchId\":\"$id\"}")" '"hang"'
has "$(wait_for "$first")" hello

# A graceful end tells the client which call to ask for.
next_run hang
hanging=$id
client call hang
next_run hang
kill -TERM "$server_pid"
stopped 0
wait $client_pid || :
has "$(cat "$dir/client.out")" "call $id was accepted"
[ "$id" != "$hanging" ] || fail "the same call twice"

kill "$endpoint_pid"
wait "$endpoint_pid" || :
rm "$dir/runs"
start_endpoint
start 4 --api-key good --log-format json
result=$(call echo ',"maxWait":"10s"')
has "$result" STATE_DONE
next_run echo
life "$dir/log.4" | diff "$dir/expected" - || fail 'the log does not tell the life of the call'
