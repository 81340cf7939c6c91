#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What the README shows is what happens: its program is compiled and its console blocks are run, in
# one shell, in order, from a tree like the one after `./dev build`; what they print is compared.
# Ids of calls are compared by their form. The transcript's port, 3477, is replaced by a free one.
#
# usage: readme_test.sh SOURCE BUILD
set -eu
source=$1 build=$2
command -v curl >/dev/null || { echo "curl is not installed"; exit 77; }

dir=$(mktemp -d)
clean_up() {
    status=$?
    [ ! -f "$dir/pid" ] || kill -KILL "$(cat "$dir/pid")" 2>/dev/null || :
    [ "$status" = 0 ] || cat "$dir/server.log" 2>/dev/null || :
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT

ln -s "$source/include" "$dir/include"
ln -s "$build" "$dir/build"
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' "$source/README.md" >"$dir/hello.c"
[ -s "$dir/hello.c" ] || { echo "the README has no program"; exit 1; }
# What it shows of an example stands there, line by line.
awk '/^```c examples\/outbox\.c$/ {on = 1; next} /^```$/ {on = 0} on' "$source/README.md" \
    >"$dir/excerpt"
awk 'NR == FNR {wanted = wanted $0 "\n"; next} {have = have $0 "\n"}
    END {exit !(length(wanted) > 100 && index(have, wanted))}' \
    "$dir/excerpt" "$source/examples/outbox.c" ||
    { echo "examples/outbox.c is not what the README shows"; exit 1; }

# The server takes a free port, and says which; the lines of the transcript are rewritten to it. It
# is started by this script in the way the README says, as it must be told where to announce itself.
mkfifo "$dir/ready"
start=$(grep '^\$ build/dispatch server' "$source/README.md" | sed 's/^\$ //; s/&$//')
[ "$start" = "build/dispatch server --insecure --store sqlite:calls.db 2>server.log " ] ||
    { echo "the README starts the server in another way: $start"; exit 1; }
(
    cd "$dir"
    exec build/dispatch server --insecure --store sqlite:calls.db --listen 127.0.0.1:0 \
        --ready-fd 3 2>server.log 3>ready
) &
echo $! >"$dir/pid"
read -r address <"$dir/ready" || { echo "the server did not start"; exit 1; }

# Commands and the output they should have, one command a pair of files.
awk -v dir="$dir" -v address="$address" '
    /^```console$/ {on = 1; next}
    /^```$/ {on = 0}
    !on {next}
    {gsub(/127\.0\.0\.1:3477/, address)}
    /^\$ build\/dispatch server/ {next}
    /^\$ / {n++; print substr($0, 3) >(dir "/" n ".sh"); printf "" >(dir "/" n ".expected"); next}
    /^> / {print substr($0, 3) >(dir "/" n ".sh"); next}
    {print >(dir "/" n ".expected")}
    END {print n >(dir "/count")}' "$source/README.md"
count=$(cat "$dir/count")
[ "$count" -ge 5 ] || { echo "the README has $count commands only"; exit 1; }

ids() { awk 1 "$1" | sed 's/"[0-9a-z]\{25\}"/ID/g'; } # awk ends the last line
cd "$dir"
export XDG_STATE_HOME="$dir/state"
n=0
while [ $n -lt "$count" ]; do
    n=$((n + 1))
    sed 's/^/$ /' $n.sh
    # In this shell, as exports are to last.
    { . "./$n.sh"; } >$n.out 2>&1 || { cat $n.out; echo "it failed"; exit 1; }
    ids $n.out >$n.got
    ids $n.expected >$n.want
    diff -u $n.want $n.got || { echo "that is not what the README says"; exit 1; }
    cat $n.out
done
