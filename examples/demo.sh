#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The demo: counts the words of a folder of text, one durable call a file, and kills the
# orchestrator with SIGKILL in the middle. Then it starts it again, and compares the totals with
# what `sort | uniq -c` says of the same files.
#
# usage: demo.sh [FOLDER]      (default: what Debian packages say of themselves, /usr/share/doc)
set -eu
export LC_ALL=C # sort and grep by bytes: the same order as wordcount's, and several times faster
folder=${1-/usr/share/doc}
build=$(cd "$(dirname "$0")/.." && pwd)/build
build=${DISPATCH_BUILD-$build}
[ -d "$folder" ] || { echo "demo: $folder is no folder" >&2; exit 2; }

dir=$(mktemp -d)
server= application= follower=
clean_up() {
    status=$?
    for pid in $server $application $follower; do kill -KILL "$pid" 2>/dev/null || :; done
    [ $status = 0 ] || {
        echo "demo: failed; the end of the logs:" >&2
        tail -n 5 "$dir"/*.log >&2 || :
    }
    rm -rf "$dir"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR-}" ] || say() { printf '\n%s\n' "$*"; }

# start N: the N-th life of the orchestrator; returns when it takes calls; sets $server and $address
address=127.0.0.1:0
start() {
    rm -f "$dir/ready"
    mkfifo "$dir/ready"
    "$build/dispatch" server --listen "$address" --store "sqlite:$dir/calls.db" --api-key demo \
        --log-level debug --ready-fd 3 3>"$dir/ready" 2>"$dir/server.$1.log" &
    server=$!
    read -r address <"$dir/ready" || { echo "demo: the server did not start" >&2; exit 1; }
}
runs() { cat "$dir"/server.*.log | grep -c ' msg="run" ' || :; }

say "1. An orchestrator, its calls in one SQLite file"
start 1
echo "dispatch server, pid $server, on $address"

say "2. An application: wordcount $folder (every third call fails the first time)"
mkfifo "$dir/progress"
DISPATCH_API_URL=http://$address DISPATCH_API_KEY=demo DISPATCH_ENDPOINT_ADDR=127.0.0.1:0 \
    "$build/examples/wordcount" --all --flaky 3 "$folder" >"$dir/counted" 2>"$dir/progress" &
application=$!
exec 4<"$dir/progress"
killed=
while read -r line <&4; do
    echo "$line"
    echo "$line" >>"$dir/wordcount.log"
    case $line in
    *" calls done"*)
        if [ -z "$killed" ]; then
            kill -KILL $server
            wait $server 2>/dev/null || :
            killed=$server
            say "3. SIGKILL to the orchestrator, in the middle"
            echo "pid $killed is dead"
            start 2
            recovered=$(sed -n 's/.* msg="opened" .*live_calls=\([0-9]*\).*/\1/p' \
                "$dir/server.2.log")
            say "4. The orchestrator again, pid $server, on the same file"
            echo "it found $recovered calls that were not done, and goes on"
        fi
        ;;
    esac
done
wait $application
application=

say "5. The most frequent words"
sort -rn "$dir/counted" >"$dir/sorted"
head -n 10 "$dir/sorted"

say "6. The same by sort | uniq -c"
"$build/examples/wordcount" --list "$folder" 2>/dev/null >"$dir/files"
tr '\n' '\0' <"$dir/files" | xargs -0 awk 1 | tr -cs A-Za-z '\n' | tr A-Z a-z | grep . |
    sort | uniq -c >"$dir/expected"
if cmp -s "$dir/counted" "$dir/expected"; then
    echo "identical: $(wc -l <"$dir/expected") different words in $(wc -l <"$dir/files") files"
else
    echo "DIFFERENT:"
    diff "$dir/counted" "$dir/expected" | head
    exit 1
fi

calls=$(sed -n 's/^wordcount: .* files, \([0-9]*\) calls$/\1/p' "$dir/wordcount.log" | tail -n 1)
resumes=$(grep -c ' calls done' "$dir/wordcount.log")
calls=$((calls + 1))
say "7. What it took"
echo "calls made:           $calls, each recorded before it was acknowledged"
echo "recovered:            $recovered of them were not done when the orchestrator was killed"
echo "runs:                 $(runs), of which $resumes resumed wordcount with results"
echo "retried or run again: $(($(runs) - calls - resumes))"
kill -TERM $server
wait $server
server=
if [ "$recovered" -gt 0 ]; then
    echo "Nothing was lost, and nothing was counted twice."
else
    echo "All calls were done before the kill: give a larger folder to see some recovered."
fi
