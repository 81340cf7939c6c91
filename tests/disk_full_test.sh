#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A server whose disk gets full refuses calls as unavailable, says so in /readyz, loses nothing that
# it acknowledged, and goes on when there is space again. The disk is a small one of its own, which
# takes the right to mount: without it the test is skipped.
#
# usage: disk_full_test.sh DISPATCH ENDPOINT
set -eu
if [ -z "${DISK_FULL_INSIDE-}" ]; then
    export DISK_FULL_INSIDE=yes
    for way in "unshare -m" "unshare -rm"; do
        # shellcheck disable=SC2086
        $way mount -t tmpfs tmpfs /mnt 2>/dev/null && exec $way sh "$0" "$@"
    done
    echo "no file system can be mounted here"
    exit 77
fi
. "$(dirname "$0")/server_lib.sh"

key=good
input=$(printf '%020000d' 0)
mkdir "$dir/disk"
mount -t tmpfs -o size=4m tmpfs "$dir/disk"
store=$dir/disk/store.db

start_endpoint
start 1 --api-key good

n=0 refused=
while [ -z "$refused" ]; do
    n=$((n + 1))
    [ $n -lt 500 ] || fail "the disk is not full after $n calls"
    answer=$(dispatch echo)
    case $answer in
    *dispatchIds*) echo "$answer" | only_id >>"$dir/acknowledged" ;;
    *) refused=$answer ;;
    esac
done
has "$refused" '"unavailable"'
has "$(curl -sS "$api/readyz")" 'disk full'
! curl -sS "$api/readyz" | grep "$dir" || fail 'the path of the store is told'
! echo "$refused" | grep "$dir" || fail 'the path of the store is told'
has "$(dispatch echo)" '"unavailable"'

mount -o remount,size=32m "$dir/disk"
curl -sS --fail --retry 30 --retry-delay 1 "$api/readyz" >"$dir/readyz" 2>&1 ||
    fail "it did not go on: $(cat "$dir/readyz")"
dispatch echo | only_id >>"$dir/acknowledged"
while read -r id; do
    has "$(wait_for "$id")" STATUS_OK
done <"$dir/acknowledged"
echo "$(wc -l <"$dir/acknowledged") calls were acknowledged, and all are done"
kill -TERM "$server_pid"
stopped 0
umount "$dir/disk"
