#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The server as a process: a call goes in by curl, is run by an endpoint, and its result comes out;
# SIGTERM ends it cleanly, and the next start finds what the last one knew; a second signal ends it
# at once.
#
# usage: server_smoke_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"

input='hello, world'
key=good

start_endpoint
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
[ "${ran% *}" = "echo $id" ] || fail "$ran"
has "$(wait_for "$(dispatch fail | only_id)")" STATUS_PERMANENT_ERROR
read -r ran <&4
hanging=$(dispatch hang | only_id)
read -r ran <&4
[ "${ran% *}" = "hang $hanging" ] || fail "$ran"
if "$dispatch" server --insecure --listen 127.0.0.1:0 --store "sqlite:$store" 2>"$dir/second"
then
    fail "two servers on one store"
fi
kill -TERM "$server_pid"
stopped 0
! grep -e good -e "hello, world" "$dir/log.1" || fail "a key or a payload was logged"

start 2 --api-key good --grace 60s --max-runs 1
grep -q 'msg="ready".* recovered=1 ' "$dir/log.2" || fail "the unfinished call was not found"
has "$(wait_for "$id")" "hello, world"
read -r ran <&4
[ "${ran% *}" = "hang $hanging" ] || fail "$ran"
has "$(post dispatch.v1.CallService/Get "{\"dispatchId\":\"$hanging\"}")" STATE_RUNNING
second=$(dispatch echo | only_id)
has "$(post dispatch.v1.CallService/Get "{\"dispatchId\":\"$second\"}")" \
    '1 of 1 runs in flight to all hosts'
post dispatch.v1.CallService/Cancel "{\"dispatchId\":\"$second\"}" >/dev/null

# The endpoint will not answer, so the server stays for its grace, unless told again.
kill -TERM "$server_pid"
until curl -sS "$api/readyz" | grep -q stopping; do :; done
kill -TERM "$server_pid"
stopped 143

start 3 --api-key good --grace 60s
read -r ran <&4
[ "${ran% *}" = "hang $hanging" ] || fail "$ran"
kill -KILL "$server_pid"
stopped 137
