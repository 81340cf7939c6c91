#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# coroutines_test.sh COROUTINES_TEST DISPATCH APP NEXT_APP: the test of each example, all at a time,
# as most of their time goes by waiting for retries.
set -eu

test=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL DISPATCH_REPLAY

for example in saga fan_out long_loop merge_sort approval nested changed; do
    if "$test" "$@" $example >"$tmp/$example" 2>&1; then echo 0; else echo 1; fi \
        >"$tmp/$example.status" &
done
wait
failed=0
for example in saga fan_out long_loop merge_sort approval nested changed; do
    cat "$tmp/$example"
    [ "$(cat "$tmp/$example.status")" = 0 ] || failed=1
done
exit $failed
