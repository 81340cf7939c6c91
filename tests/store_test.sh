#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The operator's look at a store's file: beside a server that has calls in all kinds of states and
# goes on, after that server was killed, of a copy, and of a file that is damaged.
#
# usage: store_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"

store() { "$dispatch" store "$@" 2>"$dir/said"; }
says() { has "$(cat "$dir/said")" "$1"; }

input=hello
key=store-test-key
export DISPATCH_API_KEYS=$key
start 1
start_endpoint
done_id=$(dispatch echo | only_id)
has "$(wait_for "$done_id")" STATUS_OK
post dispatch.sdk.v1.DispatchService/Dispatch \
    '{"calls":[{"endpoint":"event:","key":"order-1","function":"f"}]}' >"$dir/event"
event=$(only_id <"$dir/event")
"$dispatch" keys create --org acme --store "sqlite:$store" >/dev/null 2>&1

# Online.
store check "$store"
says '1 live and 1 ended calls, nothing is wrong'
has "$(store stats "$store")" 'ended OK                            1'
has "$(store stats --json --store "sqlite:$store")" '"waiting":1,'
store backup "$dir/copy.db" --store "sqlite:$store"
[ "$(find "$dir" -name 'copy.db*')" = "$dir/copy.db" ] || fail "more than the copy is there"
[ "$(find "$dir" -name 'copy.db' -perm /077)" = '' ] || fail "others may read the copy"
! store backup "$dir/copy.db" --store "sqlite:$store" || fail "a file was written over"
says 'is there already'
! store check "$dir/nowhere.db" || fail "there is no such file"
[ ! -e "$dir/nowhere.db" ] || fail "a check made a file"

# After a kill, and of the copy, which is a store.
kill -KILL "$server_pid"
stopped 137
store check "$store"
store check "$dir/copy.db"
store=$dir/copy.db
start 2
has "$(wait_for "$done_id")" STATUS_OK
post dispatch.v1.CallService/Complete "{\"key\":\"order-1\"}" >/dev/null
has "$(wait_for "$event")" STATUS_OK
kill -TERM "$server_pid"
stopped 0
store check "$store"
says '0 live and 2 ended calls'

# Damaged: a page in the middle.
pages=$(($(wc -c <"$store") / 4096))
i=2
while [ $i -lt "$pages" ]; do
    dd if=/dev/zero of="$store" bs=4096 seek=$i count=1 conv=notrunc 2>/dev/null
    i=$((i + 1))
done
! store check "$store" || fail "zeros are no pages"
! store backup "$dir/other.db" --store "sqlite:$store" || fail "a damaged store was copied"
[ "$(find "$dir" -name 'other.db*')" = '' ] || fail "a part of a copy was left"
! "$dispatch" store 2>/dev/null || fail "what is to be done?"
