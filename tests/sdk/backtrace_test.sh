#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# backtrace_test.sh SDK_COROUTINE_TEST: where a function waits, gdb sees it, whom it called, and
# down to the bottom of its stack, where the backtrace ends.
set -eu

command -v gdb >/dev/null || { echo "gdb is not installed"; exit 77; }
seen=$(gdb -batch -nx -ex 'set debuginfod enabled off' -ex 'break sdk_fiber_yield' -ex run \
    -ex 'bt 100' -ex kill "$1" </dev/null 2>&1) || true
case $seen in *"ptrace: Operation not permitted"*) echo "gdb may not trace here"; exit 77 ;; esac

fail() {
    echo "FAILED: $1 in:"
    echo "$seen"
    exit 1
}

frames=$(echo "$seen" | sed -n 's/^#[0-9]* *\(0x[0-9a-f]* in \)\{0,1\}\([a-z_?]*\) .*/\2/p')
for frame in sdk_fiber_yield dispatch_call sequence coroutine_main entry; do
    # Each somewhere below the one before.
    frames=$(echo "$frames" | awk -v frame=$frame 'below; $0 == frame { below = 1 }')
    [ -n "$frames" ] || fail "no '$frame' in its place"
done
[ "$(echo "$seen" | grep -c '^#')" -lt 30 ] || fail "the backtrace does not end"
! echo "$seen" | grep -E 'Backtrace stopped|More stack frames' || fail "the backtrace breaks off"
echo "gdb sees where a function waits"
