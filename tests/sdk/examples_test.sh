#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# examples_test.sh DISPATCH HELLO WORDCOUNT: the examples, embedded and against a real server.
# wordcount has to say what tr, sort and uniq say of the same files.
set -eu

dispatch=$1 hello=$2 wordcount=$3
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

unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL
DISPATCH_ENDPOINT_ADDR=127.0.0.1:0
export DISPATCH_ENDPOINT_ADDR

XDG_STATE_HOME=$tmp/state
export XDG_STATE_HOME
is 'hello, without any configuration' 'Hello, Ada!' "$("$hello" Ada)"
[ -f "$tmp/state/dispatch/hello/calls.db" ] || fail 'hello has kept its calls elsewhere'
is 'its directory' 700 "$(stat -c %a "$tmp/state/dispatch/hello")"
is 'hello, on a store' 'Hello, Ada!' "$(DISPATCH_STORE=sqlite:$tmp/mine.db "$hello" Ada)"
[ -f "$tmp/mine.db" ] || fail 'hello did not use the store that it was given'

mkfifo "$tmp/ready"
"$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$tmp/test.db" --api-key secret \
    --ready-fd 3 3>"$tmp/ready" 2>"$tmp/log" &
server=$!
read -r address <"$tmp/ready"
DISPATCH_API_URL=http://${address#http://}
DISPATCH_API_KEY=secret
export DISPATCH_API_URL DISPATCH_API_KEY

is 'hello' 'Hello, Ada!' "$("$hello" Ada)"
refused='Dispatch received an invalid authentication token (check DISPATCH_API_KEY is correct)'
is 'a wrong key' "hello: Client: $refused" "$(DISPATCH_API_KEY=wrong "$hello" 2>&1 || true)"

# Text, an empty file, a binary one, a large one, one without a newline at its end, names
# with blanks, folders, a link.
mkdir -p "$tmp/text/a folder/deeper"
cd "$tmp/text"
printf 'The cat and the dog; the END' >one
printf "l'eau caf\303\251 x2y\n" >'a folder/two words'
: >empty
printf 'binary\0binary\n' >binary
ln -s one link
i=0
while [ $i -lt 40000 ]; do
    echo "line $i of a large file that is counted as any other, word by word"
    i=$((i + 1))
done >'a folder/deeper/large'
cd "$OLDPWD"

"$wordcount" --list "$tmp/text" | while read -r file; do
    tr -cs A-Za-z '\n' <"$file"
    echo
done | tr A-Z a-z | grep . | LC_ALL=C sort | uniq -c >"$tmp/expected"
[ "$(wc -l <"$tmp/expected")" -gt 15 ] || fail 'hardly anything to count'
counts() { # HOW: what wordcount says
    "$wordcount" --all --flaky 2 "$tmp/text" >"$tmp/counted" 2>"$tmp/err" ||
        fail "wordcount, $1: $(cat "$tmp/err")"
    diff "$tmp/expected" "$tmp/counted" >&2 || fail "wordcount, $1, and sort | uniq -c differ"
    grep -q '^3 files, ' "$tmp/err" || fail "not three files, $1: $(cat "$tmp/err")"
}
counts served
(DISPATCH_STORE=memory: counts embedded)
is 'the most frequent' '  80000 word' "$("$wordcount" --top 1 "$tmp/text" 2>/dev/null | head -n 1)"
echo 'the examples do what they say'
