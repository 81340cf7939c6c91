#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The commands about calls: against a file that nobody holds, against a server by its API and by the
# socket of its store, and against programs that have the orchestrator inside: on a thread, and in a
# loop of their own.
#
# usage: cli_operators_test.sh DISPATCH ENDPOINT APPROVAL OWN_LOOP_APP
set -eu
approval=$3 looping=$4
. "$(dirname "$0")/server_lib.sh"
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_STORE DISPATCH_ENDPOINT_URL NO_COLOR

# ask COMMAND...: of whoever holds $store, or of nobody
ask() { "$dispatch" "$@" --store "sqlite:$store"; }
# says STATUS TEXT COMMAND...: it ends so, and TEXT is in what it says; that is then in $said
says() {
    wanted=$1 text=$2
    shift 2
    status=0
    said=$("$@" 2>&1 </dev/null) || status=$?
    [ "$status" = "$wanted" ] || fail "$*: status $status, not $wanted: $said"
    has "$said" "$text"
}
# prints TEXT COMMAND...: exactly that, on stdout
prints() {
    text=$1
    shift
    said=$("$@" </dev/null 2>"$dir/err") || fail "$*: $(cat "$dir/err")"
    [ "$said" = "$text" ] || fail "$*: not '$text' but '$said'"
}
lacks() { case $1 in *"$2"*) fail "'$2' is in: $1" ;; esac; }
# until_says TEXT COMMAND...: asks until it is so
until_says() {
    text=$1 tries=0
    shift
    while said=$("$@" 2>&1 || :); do
        case $said in *"$text"*) return ;; esac
        tries=$((tries + 1))
        [ $tries -lt 2000 ] || fail "$*: never '$text': $said"
    done
}
lines() { printf %s "$1" | grep -c . || :; }

# --- Nobody holds the store: the commands do, one by one, and nothing runs.
start_endpoint
DISPATCH_ENDPOINT_URL=http://$functions
export DISPATCH_ENDPOINT_URL
later=$(ask call echo '{"a": [1, true]}' --priority 3)
says 0 'input         {"a":[1,true]}' ask get "$later"
has "$said" 'state         ready'
has "$said" 'waiting for   a server'
says 1 'nobody runs what is in the store' ask call echo --wait
says 1 'is ready, and nobody runs what is in the store' ask wait "$later"
event=$(ask call approve --endpoint event: --key e-1)
says 0 '' ask complete --key e-1 '"yes"'
says 1 'is done already' ask complete "$event" 1
prints '"yes"' ask wait "$event"
gone=$(ask call echo)
says 0 '' ask cancel "$gone"
says 1 "call $gone is done" ask cancel "$gone"
says 1 'Cancelled' ask wait "$gone"
says 1 '`dispatch ls` shows' ask get 0000

# --- A server: by the store, and by its API. What waited runs.
start 1 --api-key secret
api() { "$dispatch" "$@" --server "$api" -k secret; }
prints '{"a":[1,true]}' ask wait "$later"
read -r ran <&4
has "$ran" "echo $later"
prints '42' api call echo 42 --wait
prints '"x"' env DISPATCH_API_URL="$api" DISPATCH_API_KEY=secret "$dispatch" call echo '"x"' --wait
prints 'null' api call echo --wait
says 1 'ended with PERMANENT_ERROR' api call fail 1 --wait
says 1 'provide an --api-key' "$dispatch" ls --server "$api"
says 0 '"status":"STATUS_OK","result"' api call echo 1 --wait --json
says 3 'is not done, but' api call hang --wait --timeout 1ms

# Many, from standard input.
ids=$(printf '1\n"two"\n{"three": 3}\n' | ask call echo - --endpoint "$DISPATCH_ENDPOINT_URL" \
    --idempotency-key many)
[ "$(lines "$ids")" = 3 ] || fail "not three ids: $ids"
again=$(printf '1\n"two"\n{"three": 3}' | ask call echo - --idempotency-key many)
[ "$again" = "$ids" ] || fail "made twice: $ids, $again"
prints "$(printf '1\n"two"')" sh -c "printf '1\n\"two\"\n' | '$dispatch' call echo - --wait \
    --server '$api' -k secret"
# shellcheck disable=SC2086
says 0 '{"three":3}' ask wait $ids
[ "$(lines "$said")" = 3 ] || fail "not three results: $said"
status=0
seq 1 2500 | sed '$s/.*/{/' | ask call never - --in 1h >"$dir/out" 2>"$dir/err" || status=$?
[ "$status" = 1 ] || fail "there is no such JSON"
[ "$(wc -l <"$dir/out")" = 2000 ] || fail "not two batches: $(wc -l "$dir/out")"
has "$(cat "$dir/err")" 'line 2500: '
has "$(cat "$dir/err")" 'Lines 1 to 2000 were dispatched.'

# Tables, and filters.
says 0 'approve' ask ls --function approve
[ "$(lines "$said")" = 2 ] || fail "more than a heading and a call: $said"
says 0 'Cancelled: the call was cancelled' ask ls --function echo --status permanent_error
lacks "$said" "$later"
says 0 '' ask ls --function nobody
[ -z "$said" ] || fail "a table of nothing: $said"
says 0 '"function":"never"' api ls --function never --json --limit 2000
[ "$(lines "$said")" = 2000 ] || fail "not 2000 lines"
says 0 '' ask ls --limit 3
[ "$(lines "$said")" = 4 ] || fail "not three calls: $said"
says 0 "$later" ask ls --oldest --limit 1 --since 1h
says 0 '' ask ls --before 1h
[ -z "$said" ] || fail "older than an hour: $said"
says 0 "$later" ask ls --root "$later"
says 2 'it is ready, waiting' ask ls --state asleep
lacks "$(ask ls --limit 5)" "$(printf '\033')"
mkfifo "$dir/watched"
ask ls --watch --function approve >"$dir/watched" 2>"$dir/err" &
watcher=$!
seen=0
while [ $seen -lt 2 ]; do
    read -r line || fail "it stopped watching"
    case $line in "$event"*) seen=$((seen + 1)) ;; esac
done <"$dir/watched"
kill "$watcher" 2>/dev/null || :
wait "$watcher" 2>"$dir/err" || :

# Attempts, and what the server is busy with.
refusing=$(api call echo 1 --endpoint http://127.0.0.1:1)
until_says '#2 ' ask logs "$refusing"
has "$said" 'TCP_ERROR: transport: http://127.0.0.1:1: connection refused'
has "$said" 'waiting after '
has "$(ask get "$refusing")" 'recent attempts'
says 0 '"number":"1"' api logs "$refusing" --json
has "$(api get "$refusing" --json)" '"recentAttempts":[{"number":"1"'
until_says 'http://127.0.0.1:1 ' ask top
has "$said" 'TCP_ERROR'
has "$said" "http://$functions"
says 0 '"decreasedBy":"STATUS_TCP_ERROR"' api top --json --limit 2
[ "$(lines "$said")" = 1 ] || fail "not one line: $said"
says 2 'a number from 1 to' ask top --limit 0
says 2 'a time of 100ms' ask top --interval 1ms
mkfifo "$dir/followed" "$dir/seen"
ask logs "$refusing" --follow >"$dir/followed" 2>"$dir/err" &
watcher=$!
read -r line <"$dir/followed"
has "$line" '#1 '
says 0 '' ask cancel "$refusing"
wait "$watcher" || :
failed=$(api call fail 1)
says 0 'PERMANENT_ERROR after 1 attempt' ask logs "$failed" --follow
ask top --json --interval 100ms >"$dir/seen" 2>"$dir/err" &
watcher=$!
{ read -r line && read -r line; } <"$dir/seen"
has "$line" '"groups":['
kill "$watcher" 2>/dev/null || :
wait "$watcher" 2>"$dir/err" || :

# In hand.
hung=$(api call hang)
until_says "state         running" api get "$hung"
says 0 '' api restart "$hung"
until_says "generation    2" api get "$hung"
says 0 '' api cancel "$hung"
new=$(api retry "$hung")
says 0 "retry of      $hung" api get "$new"
says 1 'is not done: only' api retry "$new" 0000
has "$said" '0000 is not known'
put_off=$(api call echo --in 1h)
says 0 'state         waiting' ask get "$put_off"
says 0 "$put_off" ask ls --state waiting
says 0 '' ask cancel "$put_off"
refused=$(ask call approve --endpoint event: --key e-2)
says 0 '' ask complete "$refused" --error 'not today' --error-type Later --status NOT_FOUND
says 1 'ended with NOT_FOUND: Later: not today' ask wait "$refused"
# Nothing is left that a stop would wait for.
# shellcheck disable=SC2046
says 0 '' ask cancel $(ask ls --function hang --state live --json |
    sed -n 's/^{"dispatchId":"\([^"]*\)".*/\1/p')
kill -TERM "$server_pid"
stopped 0
kill "$endpoint_pid"
wait "$endpoint_pid" || :

# --- A program that holds its store itself, whose function waits in its middle for an answer.
store=$dir/embedded.db
DISPATCH_STORE=sqlite:$store "$approval" 17 >"$dir/approved" 2>"$dir/log.approval" &
endpoint_pid=$!
until_says embedded.db.sock ls "$dir"
until_says suspended ask ls --function refund
id=$(ask ls --function refund --json | sed -n 's/^{"dispatchId":"\([^"]*\)".*/\1/p')
says 0 'input         "17"' ask get "$id"
has "$said" "start of a call of 'approval'"
has "$said" 'poll'
has "$said" 'calls below'
has "$said" "└─ $(ask ls --parent "$id" --json | sed -n 's/^{"dispatchId":"\([^"]*\)".*/\1/p')"
says 0 '"kind":"start of a call",' ask get "$id" --json
[ "$(lines "$said")" = 1 ] || fail "more than a line of JSON"
has "$said" '"children":[{"dispatchId":'
says 0 '' ask complete --key refund-17 true
wait "$endpoint_pid" || fail "the program failed"
endpoint_pid=''
[ "$(cat "$dir/approved")" = refunded ] || fail "not approved: $(cat "$dir/approved")"
prints '"refunded"' ask wait "$id"
lacks "$(ask get "$id")" journal

# --- A program that holds it in a loop of its own, without a thread: all of the commands, and what
# they leave when it has ended.
store=$dir/looping.db
mkfifo "$dir/looping" "$dir/open"
start_looping() {
    DISPATCH_STORE=sqlite:$store "$looping" <"$dir/looping" >"$dir/open" 2>"$dir/log.looping" &
    endpoint_pid=$!
    exec 5>"$dir/looping"
    read -r said <"$dir/open"
    has "$said" open
}
start_looping
held() { ask call "$@" --endpoint bridge://looping; }
prints '{"a":[1,true]}' held echo '{"a": [1, true]}' --wait
says 1 'Broken: as ever' held fails --wait
says 1 "function 'nobody' does not exist" held nobody --wait
failed=$(ask ls --function fails --json | sed -n 's/^{"dispatchId":"\([^"]*\)".*/\1/p')
again=$(ask retry "$failed")
says 1 'Broken: as ever' ask wait "$again"
says 0 "retry of      $failed" ask get "$again"
later=$(held echo 1 --in 1h)
says 0 'state         waiting' ask get "$later"
says 3 'is not done, but waiting' ask wait "$later" --timeout 1ms
says 0 '' ask cancel "$later"
says 1 'Cancelled' ask wait "$later"
asking=$(held asks '"k-1"')
until_says 'state         suspended' ask get "$asking"
says 0 '' ask restart "$asking"
until_says 'generation    2' ask get "$asking"
until_says 'state         suspended' ask get "$asking"
says 0 '' ask complete --key k-1 '"yes"'
prints '"yes"' ask wait "$asking"
left=$(held asks '"k-2"')
until_says 'state         suspended' ask get "$left"
says 0 "$left" ask ls --state live

# It ends; the same file, held by nobody.
exec 5>&-
wait "$endpoint_pid" || fail "the program failed: $(cat "$dir/log.looping")"
endpoint_pid=''
prints '"yes"' ask wait "$asking"
says 0 "$left" ask ls --state live
says 0 'state         suspended' ask get "$left"
more=$(held echo 5)
gone=$(held echo 6)
says 0 '' ask cancel "$gone"
says 1 'Cancelled' ask wait "$gone"
says 0 '' ask complete --key k-2 '"late"'
says 1 'nobody runs what is in the store' ask wait "$left"
again=$(ask retry "$failed")

# And it goes on with what it finds.
start_looping
prints '"late"' ask wait "$left"
prints '5' ask wait "$more"
says 1 'Broken: as ever' ask wait "$again"
exec 5>&-
wait "$endpoint_pid" || fail "the program failed: $(cat "$dir/log.looping")"
endpoint_pid=''
