#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# header_test.sh INCLUDE_DIR: the public header compiles alone, without a warning, as C11 and C++17,
# with every compiler that is there; so do the macros that register functions.
set -eu

include=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tried=0

cat >"$tmp/all.c" <<'END'
#include <dispatch_sdk.h>
static struct dispatch_result early(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number = 0;
    if (!dispatch_as_int(input, &number))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "not a number");
    return dispatch_ok(dispatch_int(number + 1));
}
DISPATCH_REGISTER(early);
static struct dispatch_output polls(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    return dispatch_output_value(ctx, dispatch_bool(dispatch_input_is_resume(input)));
}
DISPATCH_REGISTER_PRIMITIVE(polls);
END
echo '#include <dispatch_sdk.h>' >"$tmp/alone.c"
cp "$tmp/all.c" "$tmp/all.cc"
cp "$tmp/alone.c" "$tmp/alone.cc"

try() { # COMPILER STANDARD FILE...
    compiler=$1 standard=$2
    shift 2
    command -v "$compiler" >/dev/null || return 0
    for file; do
        "$compiler" "-std=$standard" -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror \
            "-I$include" -fsyntax-only "$tmp/$file"
    done
    tried=$((tried + 1))
}

for compiler in gcc clang; do
    try "$compiler" c11 alone.c all.c
    try "$compiler" gnu17 alone.c all.c
done
for compiler in g++ clang++; do
    try "$compiler" c++17 alone.cc all.cc
    try "$compiler" c++20 alone.cc all.cc
done
[ "$tried" -ge 4 ] || {
    echo "FAILED: of a C and a C++ compiler one is missing ($tried tries)" >&2
    exit 1
}
echo "$tried compilers and standards"
