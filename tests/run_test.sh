#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `dispatch run`: what the command is given, its output, signals, sessions, and how it all ends.
#
# usage: run_test.sh DISPATCH ENDPOINT
set -eu
dispatch=$1 endpoint=$2
command -v curl >/dev/null || { echo "curl is not installed"; exit 77; }

dir=$(mktemp -d)
run_pid=''
clean_up() {
    status=$?
    [ -z "$run_pid" ] || kill -KILL "$run_pid" 2>/dev/null || :
    [ "$status" = 0 ] || sed 's/^/last run: /' "$dir/err"
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
fail() { echo "failed: $*"; exit 1; }
says() { grep -q -e "$1" "$dir/err" || fail "no '$1'"; }
says_not() { ! grep -e "$1" "$dir/err" || fail "there is '$1'"; }

export XDG_STATE_HOME="$dir/state" ENDPOINT="$endpoint" DIR="$dir"
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_REPLAY

# A port that is free now.
mkfifo "$dir/fifo"
"$endpoint" >"$dir/fifo" &
read -r address <"$dir/fifo"
kill $!
wait $! || :

# run STATUS OPTION... -- COMMAND...: dispatch run ends with that status; its words go to $dir/err
run() {
    wanted=$1 status=0
    shift
    timeout 60 "$dispatch" run --endpoint "$address" "$@" >"$dir/out" 2>"$dir/err" </dev/null ||
        status=$?
    [ "$status" = "$wanted" ] || fail "dispatch run $*: status $status, not $wanted"
    [ ! -s "$dir/out" ] || fail "something was written to stdout"
}
# begin OPTION... -- COMMAND...: starts it in the background, and waits for a line that the command
# writes to $dir/fifo
begin() {
    "$dispatch" run --endpoint "$address" "$@" >"$dir/out" 2>"$dir/err" </dev/null &
    run_pid=$!
    read -r line <"$dir/fifo"
}
# ended STATUS
ended() {
    status=0
    wait "$run_pid" || status=$?
    run_pid=''
    [ "$status" = "$1" ] || fail "it ended with status $status, not $1"
}

# Shell functions for the commands: post PATH BODY, and dispatch FUNCTION, one call of it.
cat >"$dir/lib.sh" <<'EOF'
post() {
    curl -sS --fail -w '\n' -H "Authorization: Bearer $DISPATCH_API_KEY" \
        -H 'Content-Type: application/json' -d "$2" "$DISPATCH_API_URL/$1"
}
call() { echo "{\"endpoint\":\"$DISPATCH_ENDPOINT_URL\",\"function\":\"$1\"}"; }
dispatch() { post dispatch.sdk.v1.DispatchService/Dispatch "{\"calls\":[$(call "$1")]}"; }
call_and_wait() { post dispatch.v1.CallService/Call "{\"call\":$(call "$1")}"; }
start_endpoint() {
    mkfifo "$DIR/runs" 2>/dev/null || :
    "$ENDPOINT" >"$DIR/runs" &
    endpoint_pid=$!
    exec 4<"$DIR/runs"
    read -r address <&4
}
EOF

# --- a command that listens, calls itself and ends

cat >"$dir/app" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
start_endpoint
call_and_wait echo
EOF
chmod +x "$dir/app"
run 0 -- "$dir/app"
says 'Starting Dispatch session: [0-9a-zA-Z]*$'
says 'app      | .*STATE_DONE.*STATUS_OK'
time='[0-9-]\{10\} [0-9:]\{8\}\.[0-9]\{3\}'
says "^dispatch | $time starting session session_id=[0-9a-zA-Z]*\$"
says "^dispatch | $time calling function function=echo\$"
says "^dispatch | $time function call succeeded function=echo\$"
says_not 'To resume'
says_not 'listening'
run 0 --session verbose.1 --verbose -- "$dir/app"
says 'dispatch | .* call dispatched call='
says "^dispatch | $time calling function function=echo input=empty()\$"
says "^dispatch | $time function call succeeded function=echo output=empty()\$"
says_not 'Starting Dispatch session:'
[ -f "$dir/state/dispatch/sessions/verbose.1.db" ] || fail 'the store of the session is not there'

# --- what is logged of other ends; prefixes are as wide as the longest name

cat >"$dir/calls-many-functions" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
start_endpoint
for f in parent refuse fail tail; do call_and_wait "$f"; done
dispatch busy
read -r line <"$DIR/go"
EOF
chmod +x "$dir/calls-many-functions"
mkfifo "$dir/go"
"$dispatch" run --endpoint "$address" --session many -- "$dir/calls-many-functions" \
    >"$dir/out" 2>"$dir/err" </dev/null &
run_pid=$!
tries=0
until grep -q 'http_status' "$dir/err"; do
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || fail 'the call to busy was not logged'
    sleep 0.05
done
echo go >"$dir/go"
wait "$run_pid" || fail "calls-many-functions: status $?"
run_pid=''
p='^dispatch             | '
says "${p}$time function yielded function=parent\$"
says "${p}$time resuming function function=parent\$"
failed="$time WARN function call failed function="
status='status="Permanent error" error_type='
says "${p}${failed}refuse ${status}Refusal error_message=\"not today\"\$"
says "${p}${failed}fail ${status}\"\" error_message=\"\"\$"
says "${p}$time function tail-called function=tail tail_call=echo\$"
says "${p}${failed}busy http_status=503 error="
says '^calls-many-functions | .*STATE_DONE'

# --- what it is given

DISPATCH_STORE=memory: DISPATCH_VERIFICATION_KEY=x DISPATCH_API_KEY=mine DISPATCH_API_URL=http://x \
    run 1 --session Env -- sh -c 'env; umask; ulimit -n'
says "sh       | DISPATCH_ENDPOINT_URL=bridge://Env\$"
says "sh       | DISPATCH_ENDPOINT_ADDR=$address\$"
says 'sh       | DISPATCH_API_URL=http://127.0.0.1:[0-9]*$'
says 'sh       | DISPATCH_API_KEY=[0-9a-zA-Z]*$'
says "sh       | XDG_STATE_HOME=$dir/state\$"
says 'sh       | DISPATCH_REPLAY=16$'
says "sh       | $(umask)\$"
says "sh       | $(ulimit -n)\$"
says_not 'DISPATCH_STORE='
says_not 'VERIFICATION_KEY'
says_not '=mine'
says 'command .* exited unexpectedly'
DISPATCH_REPLAY=always run 1 --session replay -- env
says 'env      | DISPATCH_REPLAY=always$'
says_not DISPATCH_REPLAY=16

# --- output

run 1 -- sh -c 'echo out; echo err >&2; printf "no end"; exit 1'
says '^sh       | out$'
says '^sh       | err$'
says '^sh       | no end$'
run 1 -- sh -c 'head -c 65000 /dev/zero | tr "\0" x; exit 1'
[ "$(grep -c '^sh       | x' "$dir/err")" = 1 ] || fail 'a line of less than 64 KiB was cut'
run 1 -- sh -c 'head -c 1000000 /dev/zero | tr "\0" x; exit 1'
[ "$(grep '^sh       | x' "$dir/err" | tr -cd x | wc -c)" = 1000000 ] || fail 'a long line was cut'

# --- errors

run 1 -- no-such-program
says "failed to invoke command 'no-such-program': there is no such program"
run 1 -- sh -c 'exit 3'
says "failed to invoke command .*: exit status 3"
run 1 -- sh -c 'kill -KILL $$'
says "failed to invoke command .*: signal: Killed"
run 1 -- true
says "command 'true' exited unexpectedly"
run 2 --session a/b -- true
says '--session a/b: it is made of'
run 2
says 'there is no command to run'
run 2 -e 127.0.0.1:0 -- true
says 'has to be told a port'
run 2 --store nonsense -- true
says 'store'
DISPATCH_ENDPOINT_ADDR=$address "$endpoint" >"$dir/fifo" &
read -r line <"$dir/fifo"
run 1 -- true
says "cannot start local application on address that's already in use: $address"
kill $!
wait $! || :

# --- signals

cat >"$dir/stubborn" <<'EOF'
#!/bin/sh
. "$DIR/lib.sh"
start_endpoint
exec 5<>"$DIR/fifo" # opening it does not wait for a reader, so that no signal can interrupt that
trap 'echo asked to end; echo asked >&5' TERM
call_and_wait echo
echo ready >&5
while :; do sleep 1000 & wait $!; done
EOF
chmod +x "$dir/stubborn"
begin --session stubborn -- "$dir/stubborn"
kill -TERM "$run_pid"
read -r line <"$dir/fifo"
kill -INT "$run_pid"
ended 0
says 'stubborn | asked to end'
says 'To resume this Dispatch session:'
says "dispatch run --session stubborn --endpoint $address -- $dir/stubborn\$"

# Another one cannot have the session meanwhile; and the command dies with us.
cat >"$dir/mourner" <<'EOF'
#!/bin/sh
# It may be asked more than once, as each thread of its parent dies.
trap 'trap "" TERM; echo died >"$DIR/fifo"; kill $!; exit' TERM
echo ready >"$DIR/fifo"
while :; do sleep 1000 & wait $!; done
EOF
chmod +x "$dir/mourner"
begin --session one -- "$dir/mourner"
cp "$dir/err" "$dir/kept"
run 1 --session one -- true
says 'cannot open session one: .* is held by process'
kill -KILL "$run_pid"
read -r line <"$dir/fifo"
[ "$line" = died ] || fail "the command was not asked to end: $line"
ended 137

# --- sessions

# Leaves a call unfinished.
cat >"$dir/first" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
start_endpoint
dispatch hang
read -r ran id request <&4
echo "$ran $id" >"$DIR/left"
exit 1
EOF
cat >"$dir/second" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
start_endpoint
read -r ran id request <&4
[ "$ran $id" = "$(cat "$DIR/left")" ]
EOF
chmod +x "$dir/first" "$dir/second"
run 1 --session again -- "$dir/first"
says 'To resume this Dispatch session:'
run 0 --session again --verbose -- "$dir/second"
says 'opened live_calls=1'

# An application that listens elsewhere: its calls wait, and the log says for what.
cat >"$dir/elsewhere" <<'EOF'
#!/bin/sh
. "$DIR/lib.sh"
dispatch echo
read -r line <"$DIR/go"
EOF
chmod +x "$dir/elsewhere"
"$dispatch" run --endpoint "$address" --session elsewhere -- "$dir/elsewhere" \
    >"$dir/out" 2>"$dir/err" </dev/null &
run_pid=$!
tries=0
refused="connection refused (check that -e,--endpoint is correct)"
until grep -q "WARN can't connect to $address: $refused\$" "$dir/err"; do
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || fail 'nobody said that the application cannot be reached'
    sleep 0.05
done
echo go >"$dir/go"
ended 1

# --- an application that goes and comes back: its runs wait

cat >"$dir/restarts" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
start_endpoint
call_and_wait echo
read -r ran id request <&4
kill "$endpoint_pid"
wait "$endpoint_pid" || :
dispatch echo
start_endpoint
read -r ran id request <&4
[ "$ran" = echo ]
post dispatch.v1.CallService/Wait "{\"dispatchId\":\"$id\"}" >"$DIR/result"
grep '"attempts":"1"' "$DIR/result"
EOF
chmod +x "$dir/restarts"
run 0 -- "$dir/restarts"
