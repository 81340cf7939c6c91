#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The same seeds, in two processes, give the same histories: deterministic_test.sh SIMULATOR.
# Nothing in a history may depend on an address, so two processes say more than one that runs each
# seed twice.
set -eu
once() {
    "$1" --seed 11 --seeds 10 | grep history
}
first=$(once "$1")
second=$(once "$1")
[ "$(echo "$first" | grep -c '^seed')" -eq 10 ]
if [ "$first" != "$second" ]; then
    printf 'first:\n%s\nthen:\n%s\n' "$first" "$second"
    exit 1
fi
