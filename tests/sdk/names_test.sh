#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# names_test.sh LIBRARY HEADER GCD_NAMES: the shared library exports what its header declares, all
# of it and nothing else, and no name of Grand Central Dispatch's; its soname is that of its ABI.
set -eu

library=$1 header=$2 gcd=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

nm -D --defined-only "$library" | sed 's/.* //; s/@.*//' | grep -v '^DISPATCH_SDK_' |
    sort >"$tmp/exported"
# A declaration begins with the macro; the name is the word before its first parenthesis.
grep -v '^#' "$header" | tr '\n' ' ' | grep -o 'DISPATCH_SDK_API [^;{]*;' |
    sed 's/DISPATCH_SDK_API //; s/ *(.*//; s/.*[ *]//' | sort >"$tmp/declared"

[ "$(wc -l <"$tmp/exported")" -gt 50 ] || fail 'hardly anything is exported'
diff "$tmp/declared" "$tmp/exported" >&2 || fail 'declared (<) and exported (>) differ'
grep -v '^#' "$gcd" >"$tmp/patterns"
if grep -xE -f "$tmp/patterns" "$tmp/exported" >&2; then
    fail 'these names are those of Grand Central Dispatch'
fi
# The list can fail: it knows these.
for name in dispatch_main dispatch_resume dispatch_get_global_queue dispatch_group_wait; do
    echo "$name" | grep -qxE -f "$tmp/patterns" || fail "the list does not know $name"
done
readelf -d "$library" | grep -q 'SONAME.*\[libdispatch_sdk\.so\.0\]' || fail 'the soname is another'
exit "$failures"
