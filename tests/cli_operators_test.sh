#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The commands about calls, each against a server, a program that has the orchestrator inside, and
# a file that nobody holds.
#
# usage: cli_operators_test.sh DISPATCH ENDPOINT APPROVAL
set -eu
approval=$3
. "$(dirname "$0")/server_lib.sh"
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_STORE NO_COLOR

# ask COMMAND...: of the program or the file that $store names
ask() { "$dispatch" "$@" --store "sqlite:$store"; }
# says STATUS TEXT COMMAND...: it ends so, and TEXT is in what it says
says() {
    wanted=$1 text=$2
    shift 2
    status=0
    "$@" >"$dir/said" 2>&1 || status=$?
    [ "$status" = "$wanted" ] || fail "$*: status $status, not $wanted: $(cat "$dir/said")"
    has "$(cat "$dir/said")" "$text"
}
# becomes STATE ID: waits until the call is in it
becomes() {
    tries=0
    until ask get "$2" | grep -q "^state  *$1"; do
        tries=$((tries + 1))
        [ $tries -lt 2000 ] || fail "not $1: $(ask get "$2")"
    done
}

# A function that waits in its middle for somebody's answer, in a program of its own.
start 1 --insecure
DISPATCH_API_URL=$api DISPATCH_API_KEY=any DISPATCH_ENDPOINT_ADDR=127.0.0.1:0 \
    "$approval" 17 >"$dir/approved" 2>"$dir/log.approval" &
endpoint_pid=$!
tries=0
until id=$(sed -n 's/.*msg="call dispatched" call=\([^ ]*\).*/\1/p' "$dir/log.1") && [ "$id" ]; do
    tries=$((tries + 1))
    [ $tries -lt 2000 ] || fail "the program dispatched nothing"
done
becomes suspended "$id"
says 0 'refund' "$dispatch" get "$id" --server "$api" --api-key any
says 0 'input         "17"' ask get "$id"
says 0 "start of a call of 'approval'" ask get "$id"
says 0 'poll' ask get "$id"
says 0 '"kind":"start of a call",' ask get "$id" --json
[ "$(wc -l <"$dir/said")" = 1 ] || fail "more than a line of JSON"
says 1 'not known here' ask get 0000
kill -TERM "$server_pid"
stopped 0
