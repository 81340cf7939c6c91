#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# one_file_test.sh DISPATCH APPROVAL: one program, unchanged, and one file. Each mode finds the call
# that the program was killed over in another one, finishes it, and leaves one behind: embedded, by
# `dispatch run` on the file, by `dispatch server` on it (which the program serves by its session,
# bridge://PROGRAM), and embedded again.
set -eu
exec </dev/null

dispatch=$1 approval=$2
tmp=$(mktemp -d)
program= server=
clean_up() {
    status=$?
    for process in $program $server; do kill -KILL -"$process" 2>/dev/null || :; done
    [ $status = 0 ] || tail -n 30 "$tmp"/log.* >&2
    rm -rf "$tmp"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
is() { # NAME EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL DISPATCH_REPLAY
unset DISPATCH_BRIDGE_URL
file=sqlite:$tmp/calls.db
ask() { "$dispatch" "$@" --store "$file" 2>"$tmp/log.ask"; }

# begin NUMBER COMMAND...: in a group of its own, until its call waits in its middle; $id is its id
begin() {
    number=$1
    shift
    setsid "$@" "$number" >"$tmp/out" 2>"$tmp/log.$number" &
    program=$!
    # Before that the file is nobody's, and a command would take it.
    until curl -sf --unix-socket "$tmp/calls.db.sock" http://localhost/readyz >"$tmp/log.ready"; do
        kill -0 "$program" || fail "the program ended"
    done
    id=
    until [ -n "$id" ]; do
        kill -0 "$program" || fail "the program ended"
        id=$(ask ls --function refund --state suspended --json |
            sed -n "s/^{\"dispatchId\":\"\([^\"]*\)\".*/\1/p" | grep -v -x "${left-none}" || :)
    done
}
dies() { # NAME: the group of that process
    eval "kill -KILL -\$$1; wait \$$1 2>/dev/null || :; $1="
}
# finishes MODE: what another mode left, by whatever runs now
finishes() {
    ask complete --key "refund-$((number - 1))" true || fail "$(cat "$tmp/log.ask")"
    is "$1, refund $((number - 1))" '"refunded"' "$(ask wait "$left" --timeout 60s)"
}
listen() { # a server; sets $address
    rm -f "$tmp/ready"
    mkfifo "$tmp/ready"
    setsid "$dispatch" server --listen 127.0.0.1:0 --api-key secret --ready-fd 3 "$@" \
        3>"$tmp/ready" 2>"$tmp/log.server" &
    server=$!
    read -r address <"$tmp/ready"
    address=${address#http://}
}

listen --store "sqlite:$tmp/other.db"
functions=$address # free when it is gone
dies server

begin 1 env "DISPATCH_STORE=$file" "$approval"
left=$id
dies program

begin 2 "$dispatch" run --session approval --store "$file" --endpoint "$functions" -- "$approval"
finishes run
left=$id
dies program

listen --store "$file"
begin 3 "$dispatch" run --session approval --bridge-url "http://$address" --api-key secret \
    --endpoint "$functions" -- "$approval"
finishes server
left=$id
dies program
dies server

begin 4 env "DISPATCH_STORE=$file" "$approval"
finishes embedded
ask complete --key refund-4 false
wait "$program" || fail "it failed: $(cat "$tmp/log.4")"
program=
is 'the last one' refused "$(cat "$tmp/out")"
is 'what is left' '' "$(ask ls --state live)"
is 'what there was' 4 "$(ask ls --function refund --status OK --json | wc -l)"
echo 'four programs, three modes, one file'
