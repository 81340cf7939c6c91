#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# man_test.sh PAGE|DIRECTORY...: does groff take the manual pages without a warning, and does the
# index (lexgrog, of man-db) understand their first lines?
set -eu

if ! command -v groff >/dev/null; then
    echo 'groff is not installed: nothing tried'
    exit 77
fi
out=$(mktemp)
trap 'rm -f "$out"' EXIT
pages=0
for page in $(find "$@" -name '*.[1-9]'); do
    if grep -q '^\.so ' "$page"; then
        [ -f "$(dirname "$page")/../$(sed -n 's/^\.so //p' "$page")" ] || {
            echo "$page refers to a page that is not there"
            exit 1
        }
        continue
    fi
    groff -man -ww -Tutf8 -P-c "$page" 2>&1 >/dev/null | tee "$out"
    [ ! -s "$out" ] || exit 1
    if command -v lexgrog >/dev/null && ! lexgrog "$page" >"$out"; then
        cat "$out"
        exit 1
    fi
    pages=$((pages + 1))
done
echo "$pages pages are fine"
[ "$pages" -gt 0 ]
