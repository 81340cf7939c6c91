#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cxx_test.sh INCLUDE_DIR LIBRARY_DIR RAII: the example in C++17, built by each compiler that is
# there as an application builds it, and run with its stacks kept and replayed.
set -eu

include=$1 library=$2 raii=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_ENDPOINT_URL DISPATCH_REPLAY
tried=

for compiler in g++ clang++; do
    command -v "$compiler" >/dev/null || continue
    "$compiler" -std=c++17 -Wall -Wextra -Wpedantic -Wshadow -Werror "-I$include" "$raii" \
        "-L$library" -ldispatch_sdk "-Wl,-rpath,$library" -o "$tmp/raii"
    for replay in '' always; do
        said=$(DISPATCH_STORE=memory: DISPATCH_REPLAY=$replay "$tmp/raii")
        [ "$said" = 'abcdefgh, and every object that was made is gone' ] || {
            echo "FAILED: $compiler, DISPATCH_REPLAY='$replay': $said"
            exit 1
        }
    done
    tried="$tried $compiler"
done
[ -n "$tried" ] || { echo "no compiler of C++ is installed"; exit 77; }
echo "the same by$tried"
