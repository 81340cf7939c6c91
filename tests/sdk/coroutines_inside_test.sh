#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# coroutines_inside_test.sh APP NEXT_APP: functions that wait, and death, with the orchestrator in
# the process that dies: at each await, step and effect of each example in turn, and before and
# after each sync of its store's file. What the next process on the file says, and does, is what an
# undisturbed one says and does, save for the effects of runs that were cut off; and a third has
# nothing left to do. The next process comes afterwards, or waits for the file all the while. And
# the application becomes its next version.
#
# Not all points are taken each time (tests/sdk/coroutines_test.c takes all, with a server); SEED in
# the environment says which, else the time does, and it is printed.
set -eu
exec </dev/null

app=$1 next=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL DISPATCH_REPLAY
unset MAX_SUSPENDED

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
is() { # NAME EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

fresh() { # FUNCTION INPUT: a store in $dir where that call waits for somebody to run it; its $id
    rm -rf "$dir"
    mkdir "$dir"
    store=sqlite:$dir/calls.db
    EFFECTS=$dir/effects
    export EFFECTS
    id=$("$app" begin "$store" "$@")
    [ "$1" != refund ] || "$app" complete "$store" "refund-$2"
}

dies() { # NAME COMMAND...: the command is killed, which is what it is for
    name=$1 status=0
    shift
    "$@" 2>"$dir/err" || status=$?
    [ $status = 137 ] || fail "$name: it ended with status $status: $(cat "$dir/err")"
}

# Every effect of an undisturbed execution is there; of others, none that it does not have.
check_effects() { # NAME
    sort "$dir/effects" >"$dir/sorted"
    comm -23 "$dir/undisturbed" "$dir/sorted" >"$dir/missing"
    [ ! -s "$dir/missing" ] || fail "$1: an effect is missing: $(cat "$dir/missing")"
    sort -u "$dir/undisturbed" >"$dir/known"
    sort -u "$dir/sorted" | comm -13 "$dir/known" - >"$dir/unknown"
    [ ! -s "$dir/unknown" ] || fail "$1: an effect of its own: $(cat "$dir/unknown")"
}

# work_until POINT: dies there. With $heir another process waits for the file from the moment that
# the first one has it; what is said is then what that one says.
work_until() {
    if [ -z "$heir" ]; then
        "$app" work "$store" "$id" "$1" >"$dir/said" 2>"$dir/err"
        return
    fi
    mkfifo "$dir/opened"
    OPENED=3 "$app" work "$store" "$id" "$1" 3>"$dir/opened" >"$dir/first" 2>"$dir/err" &
    first=$!
    read -r none <"$dir/opened" || : # the first has it, or is dead
    DISPATCH_STORE_WAIT=60 "$app" work "$store" "$id" >"$dir/said" 2>"$dir/heir" &
    second=$! died=0
    wait $first 2>/dev/null || died=$?
    wait $second || fail "the heir: $(cat "$dir/heir")"
    return $died
}

example() { # FUNCTION INPUT EXPECTED STRIDE MANNER
    dir=$tmp/$1-$4
    fresh "$1" "$2"
    is "$1, $5" "$3" "$("$app" work "$store" "$id")"
    sort "$dir/effects" >"$tmp/undisturbed-$1-$4"
    point=$((1 + seed % $4)) deaths=0
    while :; do
        fresh "$1" "$2"
        cp "$tmp/undisturbed-$1-$4" "$dir/undisturbed"
        status=0
        work_until $point || status=$?
        if [ $status = 137 ]; then
            deaths=$((deaths + 1))
            [ -n "$heir" ] || "$app" work "$store" "$id" >"$dir/said"
        elif [ $status != 0 ]; then
            fail "$1, $5, point $point: status $status: $(cat "$dir/err")"
        fi
        is "$1, $5, point $point" "$3" "$(cat "$dir/said")"
        check_effects "$1, $5, point $point"
        [ $status = 137 ] || break
        cp "$dir/effects" "$dir/before"
        is "$1, $5, point $point, once more" "$3" "$("$app" work "$store" "$id")"
        cmp "$dir/before" "$dir/effects" || fail "$1, $5, point $point: done, and done again"
        point=$((point + $4))
    done
    [ $deaths -ge 1 ] || fail "$1, $5: it did not die"
    echo "$1, $5: the same though killed at $deaths points"
}

all() { # STRIDE MANNER
    example trip car 'no car to be had; cancelled: hotel-42 flight-42' "$@"
    example quote 5 510 "$@"
    example meter 11 45 "$@"
    example merge_sort bytes:800 '800 sorted bytes' "$@"
    example refund coat refunded "$@"
    example nested 1 2070 "$@"
}

# Where the awaits agree the new code goes on; where they do not the call waits for the old one.
changed() {
    dir=$tmp/changed
    fresh grows go
    dies 'grows is parked' "$app" park "$store" "$id"
    "$app" complete "$store" go
    is 'grows, with new code' 'version 2: seat-42 bag-42' "$("$next" work "$store" "$id")"
    fresh turns on
    dies 'turns is parked' "$app" park "$store" "$id"
    "$app" complete "$store" on
    dies 'turns has diverged' "$next" diverged "$store" "$id" >"$dir/said"
    grep -q "of 'turns': the journal has call of 'book', the code made call of 'cancel'" \
        "$dir/said" || fail "turns, with new code: $(cat "$dir/said")"
    is 'turns, with old code' 'version 1: seat-42 bag-42' "$("$app" work "$store" "$id")"
    echo 'changed: the new code goes on where it can, and waits where it cannot'
}

run() { # NAME COMMAND...: beside the others
    name=$1
    shift
    { if ("$@") >"$tmp/$name.out" 2>&1; then echo 0; else echo 1; fi >"$tmp/$name.status"; } &
}
seed=${SEED-$(date +%s)} heir=
echo "SEED=$seed"
run kept all 4 'stacks kept'
heir=yes run inherited all 11 'another process waiting'
MAX_SUSPENDED=-1 run dropped all 17 'no stacks kept'
DISPATCH_REPLAY=always run replayed all 16 'every resume replayed'
run changed changed
wait
failed=0
for name in kept inherited dropped replayed changed; do
    cat "$tmp/$name.out"
    [ "$(cat "$tmp/$name.status")" = 0 ] || failed=1
done
exit $failed
