#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A function that is killed between a Dispatch that it made and its own commit makes it once: its
# two calls run once each, and it gets their ids when it runs again. modes.sh has the orchestrator.
#
# usage: dispatching_test.sh DISPATCHING_APP
set -eu
app=$1
dir=$(mktemp -d)
caller='' serving=''

clean_up() {
    for process in $serving $caller; do kill -KILL "$process" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap clean_up EXIT

fail() {
    echo "failed: $*"
    cat "$dir/log"
    exit 1
}

# dies COMMAND...: the app, killed by its function
dies() {
    status=0
    timeout 60 "$app" "$@" 2>>"$dir/log" || status=$?
    [ "$status" = 137 ] || fail "'$*' was not killed but ended with $status"
}

for function in coroutine primitive; do
    if [ "$ORCHESTRATED" = embedded ]; then
        dies begin "$dir" "$function"
        "$app" finish "$dir" "$function" 2>>"$dir/log" || fail "$function did not finish"
    else
        "$app" call "$dir" "$function" 2>"$dir/call" &
        caller=$!
        dies die "$dir"
        "$app" serve "$dir" 2>>"$dir/log" &
        serving=$!
        wait "$caller" || fail "$(cat "$dir/call")"
        caller=''
        kill -KILL "$serving"
        wait "$serving" 2>/dev/null || :
        serving=''
    fi
    runs=$(wc -l <"$dir/$function.runs")
    [ "$runs" = 2 ] || fail "the two calls of $function ran $runs times"
done
