#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# coroutine_examples_test.sh DISPATCH EXAMPLES_DIR [kill|embedded|run]: the examples that await,
# against a real server, with stacks kept and with every resume replayed. With `kill`, the server is
# killed and started again all the while; with `embedded` there is none: the orchestrator is in each
# example; with `run`, each has one from `dispatch run`. The results are the same.
set -eu
exec </dev/null

dispatch=$1 examples=$2 mode=${3-}
tmp=$(mktemp -d)
server= killer=

clean() {
    for process in $server $killer; do kill -9 "$process" 2>/dev/null || true; done
    rm -rf "$tmp"
}
trap clean EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

is() { # NAME EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL DISPATCH_REPLAY
DISPATCH_ENDPOINT_ADDR=127.0.0.1:0
DISPATCH_API_KEY=secret
export DISPATCH_ENDPOINT_ADDR DISPATCH_API_KEY

serve() { # LISTEN
    rm -f "$tmp/ready"
    mkfifo "$tmp/ready"
    "$dispatch" server --listen "$1" --store "sqlite:$tmp/test.db" --api-key secret \
        --ready-fd 3 3>"$tmp/ready" 2>>"$tmp/log" &
    server=$!
    read -r address <"$tmp/ready"
    address=${address#http://}
}

if [ "$mode" = embedded ]; then
    unset DISPATCH_ENDPOINT_ADDR DISPATCH_API_KEY
    DISPATCH_STORE=sqlite:$tmp/test.db
    export DISPATCH_STORE
elif [ "$mode" = run ]; then
    serve 127.0.0.1:0 # its port is free when it is gone
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    server=
    unset DISPATCH_ENDPOINT_ADDR DISPATCH_API_KEY
else
    serve 127.0.0.1:0
    DISPATCH_API_URL=http://$address
    export DISPATCH_API_URL
fi

answers() { # ORDER ANSWER: through the API or, where only the program has one, the file's socket
    case $mode in
    embedded) socket=$tmp/test.db.sock ;;
    run) socket=$tmp/run.db.sock ;;
    *)
        "$examples/approval" "$1" "$2"
        return
        ;;
    esac
    said=$([ "$2" = yes ] && echo true || echo false)
    curl -sf --unix-socket "$socket" -H 'Content-Type: application/json' \
        http://localhost/dispatch.v1.CallService/Complete -d "{\"key\": \"refund-$1\", \"output\":
        {\"@type\": \"type.googleapis.com/google.protobuf.BoolValue\", \"value\": $said}}"
}

number=0
approves() { # ORDER ANSWER EXPECTED MODE: answered from outside, before or after it is asked
    number=$((number + 1))
    example approval "$1-$number" >"$tmp/approved" &
    asking=$!
    until answers "$1-$number" "$2" >"$tmp/completed" 2>&1; do
        kill -0 $asking 2>/dev/null || break # it was taken, but its answer was lost
    done
    wait $asking
    is "approval $1 ($4)" "$3" "$(cat "$tmp/approved")"
}

example() { # NAME ARGUMENT...: what it says
    program=$examples/$1
    shift
    if [ "$mode" != run ]; then
        "$program" "$@"
        return
    fi
    cat >"$tmp/in"
    IN=$tmp/in OUT=$tmp/out "$dispatch" run --store "sqlite:$tmp/run.db" --endpoint "$address" -- \
        sh -c 'exec "$0" "$@" <"$IN" >"$OUT"' "$program" "$@" 2>>"$tmp/log"
    cat "$tmp/out"
}

all() { # what the examples say
    is "fan_out ($1)" '20 items cost 2057' "$(example fan_out 20)"
    is "saga ($1)" 'booked: flight-42 hotel-42 car-42' "$(example saga)"
    is "saga without a car ($1)" 'no car to be had; cancelled: hotel-42 flight-42' \
        "$(example saga car)"
    is "saga without a flight ($1)" 'no flight to be had; cancelled:' "$(example saga flight)"
    is "long_loop ($1)" "$2 readings, their sum is $3" "$(example long_loop "$2")"
    i=0
    while [ $i -lt 500 ]; do
        echo $(((i * 7919) % 1000 - 300))
        i=$((i + 1))
    done >"$tmp/numbers"
    sort -n "$tmp/numbers" >"$tmp/sorted"
    example merge_sort <"$tmp/numbers" | cmp - "$tmp/sorted" || fail "merge_sort ($1)"
    approves 17 yes refunded "$1"
    approves 18 no refused "$1"
    [ ! -x "$examples/raii" ] ||
        is "raii ($1)" 'abcdefgh, and every object that was made is gone' "$(example raii)"
}

if [ "$mode" != kill ]; then
    if [ -n "$mode" ]; then all kept 1000 4500; else all kept 10000 45000; fi
    DISPATCH_REPLAY=always
    export DISPATCH_REPLAY
    all replayed 300 1350
    echo 'the examples say the same, kept and replayed'
    exit 0
fi

# The server dies and comes back, on the same port, as long as the examples run.
(all 'the server killed' 2000 9000 && touch "$tmp/done") &
killer=$!
kills=0
while kill -0 "$killer" 2>/dev/null; do
    # Longer each time, so that it also dies late.
    timeout "0.$((3 + kills % 6))" tail --pid="$killer" -f /dev/null || true
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    serve "$address"
    kills=$((kills + 1))
done
wait "$killer"
[ -f "$tmp/done" ] || fail "with the server killed $kills times"
[ $kills -ge 3 ] || fail "the server was killed only $kills times"
echo "the same with the server killed $kills times"
