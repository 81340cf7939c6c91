#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# An alarm that works: each mutation of the engine (src/engine/mutation.h) is found within a bounded
# number of seeds: mutation_test.sh MUTATED-SIMULATOR.
set -u
last=18
seeds=1000
found=0
n=0
while [ $n -lt $last ]; do
    n=$((n + 1))
    said=$("$1" --mutation $n --seed 1 --seeds $seeds 2>&1)
    if [ $? -eq 1 ] && echo "$said" | grep -q '^FAILED: '; then
        found=$((found + 1))
        echo "mutation $n: $(echo "$said" |
            sed -n 's/^FAILED: //p; s/^  seed \([0-9]*\),.*/(seed \1)/p' | tr '\n' ' ')"
    else
        echo "mutation $n: not found within $seeds seeds"
    fi
done
echo "$found of $last mutations found"
# And without one nothing is found, in the same program.
"$1" --seed 1 --seeds 20 >/dev/null || exit 1
[ $found -eq $last ]
