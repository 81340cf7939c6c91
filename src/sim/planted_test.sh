#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# An alarm that works: each planted bug is found within a bounded number of seeds, and reported with
# its seed, the invariant and the lines before: planted_test.sh SIMULATOR.
set -eu
failed=0

# expect PLANT SEEDS: caught within so many
expect() {
    status=0
    said=$("$simulator" --seed 1 --seeds "$2" --plant "$1" 2>&1) || status=$?
    if [ $status -ne 1 ] || ! echo "$said" | grep -q '^FAILED: ' ||
        echo "$said" | grep -q '^FAILED: there is memory' ||
        ! echo "$said" | grep -q 'the same again: dispatch-sim --seed [0-9]* --plant'; then
        echo "$1: not caught within $2 seeds (exit status $status)"
        failed=1
        return
    fi
    echo "$1: $(echo "$said" | sed -n 's/^FAILED: //p; s/^  seed \([0-9]*\),.*/(seed \1)/p' |
        tr '\n' ' ')"
}

simulator=$1
expect lost-call 3
expect doubled-result 3
expect early-ack 3
expect foreign-result 3
expect changed-result 3
expect half-batch 3
expect ignored-epoch 50
expect forgotten-wake 10
expect early-timer 3
expect run-again 3
expect ignored-lease 100
expect false-lease 200
expect early-removal 30
expect half-removal 30
exit $failed
