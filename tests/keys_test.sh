#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Keys as an operator has them: made before the server's first start, beside it, and kept; clients
# of two organizations; and an application that runs only what its orchestrator has signed.
#
# usage: keys_test.sh DISPATCH APP
set -eu
. "$(dirname "$0")/server_lib.sh"
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_VERIFICATION_KEY

keys() { "$dispatch" keys "$@" --store "sqlite:$store" 2>"$dir/said"; }
verification() { "$dispatch" verification "$@" --store "sqlite:$store" 2>"$dir/said"; }
says() { has "$(cat "$dir/said")" "$1"; }
# start_app KEY: ends the one before
start_app() {
    [ -z "$endpoint_pid" ] || { kill "$endpoint_pid"; wait "$endpoint_pid" || :; }
    rm -f "$dir/runs"
    mkfifo "$dir/runs"
    DISPATCH_VERIFICATION_KEY=$1 "$endpoint" >"$dir/runs" &
    endpoint_pid=$!
    read -r functions <"$dir/runs" || fail "the application did not start"
}
# ends STATUS: a call to the application
ends() { has "$(wait_for "$(dispatch echo | only_id)")" "STATUS_$1"; }

input=hello scheme=http

# Nobody holds the store: the command does, and it is a file for its owner alone.
acme=$(umask 022; keys create --org acme --name ci)
says "key-1 of organization acme"
[ "$(find "$dir" -name 'store.db*' -perm /077)" = '' ] || fail "others may read: $(ls -l "$dir")"
[ ! -e "$store.sock" ] || fail "the socket was left"
! grep -q "$acme" "$store"* || fail "the secret is in the store"

# A server holds it: the command asks that one. It needs no other key to start.
start 1
other=$(keys create --org other)
has "$(keys list)" "key-1        acme"
has "$(keys list)" "key-2        other"
has "$(keys list --org acme)" " ci"
case $(keys list --org acme) in *key-2*) fail "a key of another organization" ;; esac
! keys revoke key-9 || fail "there was no such key"
says "no API key key-9"
! keys create --org 'A B' || fail "there is no such organization"
says "'A B' is no organization"

start_app ''
key=$acme
id=$(dispatch echo | only_id)
has "$(wait_for "$id")" STATUS_OK
key=other
has "$(wait_for "$id")" unauthenticated
key=$other
has "$(wait_for "$id")" not_found

# Signatures, for one organization and not for the other.
[ -z "$(verification get --org acme)" ] || fail "there was no signing key"
says 'Key not found. Use `dispatch verification rollout` to create the first key.'
rolled=$(verification rollout --org acme)
has "$rolled" "New key:
-----BEGIN PUBLIC KEY-----"
first=$(verification get --org acme)
[ "$rolled" = "New key:
$first" ] || fail "another key"
[ "$("$dispatch" verification get --server "$api" --api-key "$acme")" = "$first" ] ||
    fail "another key by the API"
start_app "$first"
key=$acme
ends OK
key=$other
ends PERMISSION_DENIED

# Rolled over, it counts at once, before and after a restart.
verification rollout --org acme >"$dir/rolled"
key=$acme
ends PERMISSION_DENIED
start_app "$(verification get --org acme | sed ':a;N;$!ba;s/\n/\\n/g')"
ends OK
keys revoke key-2
key=$other
has "$(dispatch echo)" unauthenticated
kill -KILL "$server_pid"
stopped 137
start 2
has "$(dispatch echo)" unauthenticated
key=$acme
ends OK
has "$(wait_for "$id")" STATUS_OK
kill -TERM "$server_pid"
stopped 0
[ ! -e "$store.sock" ] || fail "the socket was left"
! grep -e "$acme" -e "$other" "$dir"/log.* || fail "a key was logged"
