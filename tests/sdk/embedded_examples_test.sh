#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# embedded_examples_test.sh DISPATCH EXAMPLES_DIR: programs with the orchestrator inside: an outbox
# that is killed, a loop of the program's own, and a server on the file that they leave behind.
set -eu

dispatch=$1 examples=$2
tmp=$(mktemp -d)
server=
trap 'test -z "$server" || kill -9 "$server" || true; rm -rf "$tmp"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
is() { # NAME EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_STORE_WAIT DISPATCH_ENDPOINT_URL
export XDG_STATE_HOME="$tmp/state" TMP="$tmp"
calls=$tmp/state/dispatch/outbox/calls.db

mailer() { # NAME LINE...: a program
    name=$tmp/$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$name"
    chmod +x "$name"
}
mailer kills 'kill -9 $PPID'
mailer sends 'echo "$1" >>$TMP/sent'
mailer blocks 'echo "$1" >>$TMP/sent; echo there >$TMP/there; read go <$TMP/go'

# The mailer kills the program at its first mail; what was queued is sent by the next one.
status=0
MAILER=$tmp/kills "$examples/outbox" ada@example.org bob@example.org || status=$?
is 'the outbox was killed' 137 "$status"
MAILER=$tmp/sends "$examples/outbox" eve@example.org
is 'what was sent' 'ada@example.org bob@example.org eve@example.org' \
    "$(sort -u "$tmp/sent" | tr '\n' ' ' | sed 's/ $//')"
[ "$(wc -l <"$tmp/sent")" -le 4 ] || fail 'mails were sent too often'
rm "$tmp/sent"
MAILER=$tmp/sends "$examples/outbox"
[ ! -e "$tmp/sent" ] || fail 'mails were sent again'

# While a mail is with the mailer the file is taken, and who has it is said; whoever waits gets it.
mkfifo "$tmp/there" "$tmp/go"
MAILER=$tmp/blocks "$examples/outbox" max@example.org &
holder=$!
read -r there <"$tmp/there"
held="$calls is held by process $holder (outbox); stop it or use another file"
is 'somebody else' "outbox: $held" "$(MAILER=echo "$examples/outbox" 2>&1 || true)"
curl -sSf --unix-socket "$calls.sock" http://localhost/readyz >"$tmp/ready" ||
    fail 'the holder does not answer at its socket'
asks() { # TEXT: what a command says that asks the holder for a call that there is not
    said=$("$dispatch" get 0000 --store "sqlite:$calls" 2>&1) && fail "it found a call: $said"
    case $said in *"$1"*) ;; *) fail "the command said: $said" ;; esac
}
asks 'not known'
kill -STOP "$holder"
asks "$held; it was asked, and has not answered in 5 seconds"
kill -CONT "$holder"
asks 'not known'
DISPATCH_STORE_WAIT=60 MAILER=echo "$examples/outbox" >"$tmp/second" &
second=$!
echo >"$tmp/go"
wait "$holder"
wait "$second"
is 'once' 'max@example.org' "$(cat "$tmp/sent")"

# What an outbox left behind, a server takes over.
status=0
MAILER=$tmp/kills "$examples/outbox" zoe@example.org || status=$?
is 'the outbox was killed' 137 "$status"
mkfifo "$tmp/started"
"$dispatch" server --insecure --listen 127.0.0.1:0 --store "sqlite:$calls" --grace 0s --ready-fd 3 \
    3>"$tmp/started" 2>"$tmp/log" &
server=$!
read -r address <"$tmp/started"
grep -q ' recovered=1 ' "$tmp/log" || fail "the server has not the call: $(cat "$tmp/log")"
kill "$server"
wait "$server"
server=
rm "$tmp/sent"
MAILER=$tmp/sends "$examples/outbox"
is 'what the server left behind' 'zoe@example.org' "$(cat "$tmp/sent")"

is 'own_loop' 'the sum is 10100' "$("$examples/own_loop" 100)"
is 'own_loop without SQLite' 'the sum is 2' "$(DISPATCH_STORE=memory: "$examples/own_loop" 1)"
echo 'the examples do what they say, without any server'
