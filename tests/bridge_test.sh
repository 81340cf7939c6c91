#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Sessions: runs fetched from `dispatch server` as the original's command line does it, by curl; and
# by two `dispatch run` that share a session, of which either may die, as may the server.
#
# usage: bridge_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"

key=good
scheme=bridge
export ENDPOINT="$endpoint" DIR="$dir"
unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_BRIDGE_URL DISPATCH_BRIDGE_HOST_HEADER
clients=''
clean_up_clients() {
    status=$?
    for pid in $clients; do kill -KILL "$pid" 2>/dev/null || :; done
    [ "$status" = 0 ] || sed 's/^/client: /' "$dir"/client.* 2>/dev/null || :
    (exit "$status")
    clean_up
}
trap clean_up_clients EXIT

start 1 --api-key good

# --- by hand

ask() { curl -sS -D "$dir/head" -o "$dir/body" -w '%{http_code}' "$@" "$api/sessions/Hand"; }
session() { ask -H 'Authorization: Bearer good' -H "X-Request-ID: ${request-none}" "$@"; }
reply() { # the raw response to a run: status OK, an empty exit
    printf 'HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\n%s\r\n\r\n' "$1"
    [ "$1" = "Content-Length: 4" ] || printf '4\r\n'
    printf '\010\001\022\000'
    [ "$1" = "Content-Length: 4" ] || printf '\r\n0\r\n\r\n'
}
functions=Hand input=x
[ "$(ask)" = 401 ] || fail "no key is needed"
[ "$(session -H 'Request-Timeout: 0')" = 504 ] || fail "something was there"
for framing in 'Content-Length: 4' 'Transfer-Encoding: chunked'; do
    id=$(dispatch echo | only_id)
    [ "$(session)" = 200 ] || fail "the run was not there"
    request=$(sed -n 's/^[Xx]-[Rr]equest-[Ii]d: *\([^ ]*\)\r$/\1/p' "$dir/head")
    case $request in "$id"-*) ;; *) fail "the request's id is '$request'" ;; esac
    head -n 1 "$dir/body" | grep -q '^POST /dispatch.sdk.v1.FunctionService/Run HTTP/1.1' ||
        fail "it is no request"
    ! grep -ai '^accept-encoding:\|^transfer-encoding:' "$dir/body" || fail "it has too much"
    [ "$(session --data-binary garbage)" = 400 ] || fail "garbage was taken"
    reply "$framing" >"$dir/reply"
    [ "$(session -H 'Transfer-Encoding: chunked' --data-binary "@$dir/reply")" = 202 ] ||
        fail "the reply was not taken"
    grep -qi '^content-length: 0' "$dir/head" || fail "the connection cannot be used again"
    [ "$(session --data-binary "@$dir/reply")" = 404 ] || fail "it was taken twice"
    has "$(wait_for "$id")" STATUS_OK
done

# --- by two clients

# client NAME [OPTION...]: serves the session Shared; its runs are lines of runs.NAME
client() {
    name=$1
    shift
    mkfifo "$dir/$name.runs"
    "$endpoint" >"$dir/$name.runs" & # a port that is free now
    read -r address <"$dir/$name.runs"
    kill $!
    wait $! || :
    DISPATCH_BRIDGE_URL=$api RUNS="$dir/$name.runs" "$dispatch" run --session Shared \
        --endpoint "$address" "$@" -- sh -c 'exec "$ENDPOINT" >"$RUNS"' 2>"$dir/client.$name" &
    client_pid=$!
    clients="$clients $client_pid"
    read -r address <"$dir/$name.runs"
}
functions=Shared
DISPATCH_API_KEY=good client a
a=$client_pid
exec 5<>"$dir/a.runs"
hanging=$(dispatch hang | only_id)
read -r ran <&5
has "$ran" "hang $hanging"
client b --api-key good
b=$client_pid
exec 6<>"$dir/b.runs"

# The first is asked to end: it gives back what it has.
kill -TERM "$a"
read -r ran <&6
has "$ran" "hang $hanging"
wait "$a" || fail "the client failed"
grep -q 'To resume this Dispatch session' "$dir/client.a" || fail "it does not say how to resume"
grep -q -e "dispatch run --session Shared .*--bridge-url $api" "$dir/client.a" ||
    fail "it does not say with which bridge"

# A third one comes, and they share the work.
DISPATCH_API_KEY=good client c
c=$client_pid
cat "$dir/c.runs" >"$dir/c.seen" &
clients="$clients $!"
until [ -s "$dir/c.seen" ]; do
    has "$(wait_for "$(dispatch echo | only_id)")" STATUS_OK
done

grep -q ' calling function function=echo$' "$dir/client.c" || fail 'no run is logged'
grep -q ' function call succeeded function=echo$' "$dir/client.c" || fail 'no success is logged'

# The second is killed, with nothing but the run that hangs: the third does the rest.
kill -KILL "$b"
wait "$b" 2>/dev/null || :
for i in 1 2 3; do
    has "$(wait_for "$(dispatch echo | only_id)")" STATUS_OK
done

# The server is killed, and starts again: the client comes back to it.
kill -KILL "$server_pid"
stopped 137
start 2 --api-key good --listen "${api#http://}"
has "$(wait_for "$(dispatch echo | only_id)")" STATUS_OK

# A wrong key is told by its origin.
client wrong --api-key bad
until grep -q 'Authentication error (check the -k,--api-key command-line option)$' \
    "$dir/client.wrong"; do
    kill -0 "$client_pid" || fail "the client ended"
done

# Nobody is where the orchestrator should be.
api=http://127.0.0.1:1 client away --api-key good
until grep -q 'WARN failed to contact Dispatch API (http://127.0.0.1:1): .*refused' \
    "$dir/client.away"; do
    kill -0 "$client_pid" || fail "the client ended"
done
