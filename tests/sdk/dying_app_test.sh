#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# dying_app_test.sh DISPATCH DYING_APP: the examples' functions in an application that dies at its
# first await, is started again and dies at its second, and so on, until none is left to die at: the
# results are those of an undisturbed run.
set -eu

dispatch=$1 app=$2
tmp=$(mktemp -d)
server= caller= serving=

clean() {
    for process in $server $caller $serving; do kill -9 "$process" 2>/dev/null || true; done
    rm -rf "$tmp"
}
trap clean EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

unset DISPATCH_API_URL DISPATCH_STORE DISPATCH_REPLAY
mkfifo "$tmp/ready"
"$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$tmp/test.db" --api-key secret \
    --ready-fd 3 3>"$tmp/ready" 2>"$tmp/log" &
server=$!
read -r address <"$tmp/ready"
DISPATCH_API_URL=http://${address#http://}
DISPATCH_API_KEY=secret
# A port that nobody else has: one that the system gave to a server that is gone.
rm "$tmp/ready"
mkfifo "$tmp/ready"
"$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$tmp/other.db" --api-key secret \
    --ready-fd 3 3>"$tmp/ready" 2>>"$tmp/log" &
serving=$!
read -r port <"$tmp/ready"
kill -9 "$serving"
wait "$serving" 2>/dev/null || true
DISPATCH_ENDPOINT_ADDR=127.0.0.1:${port##*:}
DISPATCH_ENDPOINT_URL=http://$DISPATCH_ENDPOINT_ADDR
export DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_ENDPOINT_ADDR DISPATCH_ENDPOINT_URL

gives() { # FUNCTION INPUT EXPECTED LEAST: dies at least LEAST times on the way
    "$app" call "$1" "$2" >"$tmp/result" &
    caller=$!
    deaths=0
    while kill -0 "$caller" 2>/dev/null; do
        "$app" serve $((deaths + 1)) 2>>"$tmp/log" &
        serving=$!
        # Until either of them ends.
        timeout 60 tail --pid="$caller" -f /dev/null &
        watcher=$!
        while kill -0 "$serving" 2>/dev/null && kill -0 "$watcher" 2>/dev/null; do
            timeout 0.02 tail --pid="$serving" -f /dev/null || true
        done
        kill -9 "$watcher" 2>/dev/null || true
        wait "$watcher" 2>/dev/null || true
        kill -9 "$serving" 2>/dev/null || true
        wait "$serving" 2>/dev/null || true
        deaths=$((deaths + 1))
        [ $deaths -lt 60 ] || fail "$1 $2 does not end: $(tail -n 3 "$tmp/log")"
    done
    wait "$caller"
    [ "$3" = "$(cat "$tmp/result")" ] || fail "$1 $2: expected '$3', got '$(cat "$tmp/result")'"
    [ $deaths -gt "$4" ] || fail "$1 $2: died only $deaths times"
    echo "$1 $2: the same, though it died $((deaths - 1)) times"
}

gives trip nothing 'booked: flight-42 hotel-42 car-42' 3
gives trip car 'no car to be had; cancelled: hotel-42 flight-42' 5
gives quote 20 2057 1
gives meter 25 100 5
