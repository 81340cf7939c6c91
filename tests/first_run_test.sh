#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `dispatch server` as somebody starts it who has just built it: no options, no key, and then the
# lines that it says, pasted. And its configuration: printed, read, read again.
#
# usage: first_run_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"
for tool in make pkg-config cc; do
    command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
unset DISPATCH_API_KEY DISPATCH_API_KEYS DISPATCH_API_URL DISPATCH_STORE DISPATCH_ENDPOINT_URL
export XDG_STATE_HOME="$dir/state"
mkdir "$dir/elsewhere"

# begin N OPTION...: without options but where to listen and to tell
begin() {
    n=$1
    shift
    rm -f "$dir/ready"
    mkfifo "$dir/ready"
    "$dispatch" server --listen 127.0.0.1:0 --ready-fd 3 "$@" 3>"$dir/ready" \
        >"$dir/said" 2>"$dir/log.$n" &
    server_pid=$!
    read -r address <"$dir/ready" || fail "server $n did not start"
}
logged() { until grep -q "$1" "$dir/log.$n"; do kill -0 "$server_pid"; sleep 0.02; done; }

# --- the first start ------------------------------------------------------------------------------

begin 1
key_file=$XDG_STATE_HOME/dispatch/dispatch.db.key
[ "$(find "$key_file" -perm 600)" = "$key_file" ] || fail "others may read the key"
secret=$(cat "$key_file")
! grep -e "$secret" "$dir/said" "$dir/log.1" "$XDG_STATE_HOME/dispatch/dispatch.db" \
    "$XDG_STATE_HOME/dispatch/dispatch.db-wal" || fail "the secret is elsewhere, too"
has "$(cat "$dir/said")" "$key_file, which only you can"
grep '^    ' "$dir/said" >"$dir/lines"
[ "$(wc -l <"$dir/lines")" = 3 ] || fail "not three lines: $(cat "$dir/said")"

# Pasted elsewhere, but for the port where the application listens, which has to be free.
start_endpoint
kill "$endpoint_pid"
wait "$endpoint_pid" || :
endpoint_pid=''
sed -i "s/localhost:8000/$functions/" "$dir/lines"
echo 'echo $! >../pid' | sed '2r /dev/stdin' "$dir/lines" >"$dir/pasted"
(cd "$dir/elsewhere" && DISPATCH_ENDPOINT_ADDR=$functions sh -eu "$dir/pasted") \
    >"$dir/result" 2>"$dir/log.pasted"
endpoint_pid=$(cat "$dir/pid")
[ "$(tail -n 1 "$dir/result")" = '"Hello, World!"' ] || fail "$(cat "$dir/result")"
kill "$endpoint_pid"
endpoint_pid=''

# The next one has a key, and says nothing.
kill -TERM "$server_pid"
stopped 0
begin 2
[ ! -s "$dir/said" ] || fail "said again: $(cat "$dir/said")"
[ "$(cat "$key_file")" = "$secret" ] || fail "another key"
export DISPATCH_API_KEY="$secret" DISPATCH_API_URL="http://$address"
[ "$("$dispatch" ls --function greet | wc -l)" = 2 ] || fail "the key does not open it"
kill -TERM "$server_pid"
stopped 0
"$dispatch" keys revoke key-1
unset DISPATCH_API_KEY DISPATCH_API_URL

# Where no key can be written, there is none, and it says so.
store=$dir/full.db
mkdir "$store.key"
begin 3 --store "sqlite:$store"
grep -q "first API key could not be made.*$store.key" "$dir/log.3" || fail "$(cat "$dir/log.3")"
[ ! -s "$dir/said" ] || fail "$(cat "$dir/said")"
kill -TERM "$server_pid"
stopped 0

# --- a configuration file -------------------------------------------------------------------------

config=$dir/server.toml
printed() { "$dispatch" server "$@" --print-config; }
echo some-key >"$dir/keys"
printed --listen 127.0.0.1:0 --listen "it's:2" --store "sqlite:$store" --api-key-file "$dir/keys" \
    --allow-endpoint '*' --grace 3s --metrics-public --log-level debug >"$config"
printed --config "$config" | diff "$config" - || fail "it is not what was read"
for line in "listen = ['127.0.0.1:0', \"it's:2\"]" "grace = '3s'" "metrics-public = true" \
    "insecure = false" "max-runs = '4096'" "retention-size = '10GiB'" "# tls-cert = 'FILE'" \
    "# api-key = ['KEY']"; do
    grep -qxF -e "$line" "$config" || fail "no '$line' in $(cat "$config")"
done
options=$("$dispatch" help server | sed -n 's/^  \(-., \)*--\([a-z-]*\).*/\2/p' |
    grep -vx -e help -e config -e print-config -e ready-fd -e env-file)
for option in $options; do
    grep -q -e "^$option = " -e "^# $option = " "$config" || fail "--$option is not printed"
done
# The command line wins.
printed --config "$config" --listen :3 --grace 4s >"$dir/out"
grep -qxF "listen = [':3']" "$dir/out" || fail "listen: $(cat "$dir/out")"
grep -qxF "grace = '4s'" "$dir/out" || fail "grace: $(cat "$dir/out")"

# refuses TEXT LINE...: such a file
refuses() {
    text=$1 status=0
    shift
    printf '%s\n' "$@" >"$dir/bad.toml"
    said=$("$dispatch" server --config "$dir/bad.toml" 2>&1) || status=$?
    [ "$status" = 2 ] || fail "status $status: $said"
    has "$said" "$dir/bad.toml, line $text"
}
refuses '2: there is no option lisen: did you mean listen?' '# x' "lisen = ':1'"
refuses '1: there is no option xyzzy for a file: see dispatch help server' 'xyzzy = 1'
refuses '1: there is no option ready-fd for a file' 'ready-fd = 3'
refuses '3: grace: a time is written like' '' '' "grace = 'soon'"
refuses '1: grace has one value, not an array' "grace = ['1s']"
refuses '2: grace is given twice' "grace = '1s'" "grace = '2s'"
refuses '1: insecure is true or false' "insecure = 'true'"
refuses '1: store is a string, in quotes' 'store = memory:'
refuses '2: there are no tables here: server' '[server]' "listen = ':1'"
refuses '1: max-runs: it is a number from 1 to' 'max-runs = 0'
refuses '1: api-key: ' "api-key = 'two words'"
case $said in *'two words'*) fail "the key is shown: $said" ;; esac
status=0
said=$("$dispatch" server --config "$dir/none" 2>&1) || status=$?
[ "$status" = 2 ] || fail "status $status"
has "$said" "--config $dir/none: No such file"

# Read again: keys and log-level count, what does not is named, and a bad file changes nothing.
printf '%s\n' "store = 'sqlite:$store'" "api-key-file = '$dir/keys'" "grace = '3s'" >"$config"
begin 4 --config "$config"
get_as() { "$dispatch" ls --server "http://$address" --api-key "$1" 2>&1 || :; }
[ -z "$(get_as some-key)" ] || fail "the key of the file does not open it"
echo other-key >"$dir/keys"
printf '%s\n' "store = 'sqlite:$store'" "api-key-file = '$dir/keys'" "grace = '4s'" \
    "log-level = 'debug'" >"$config"
kill -HUP "$server_pid"
logged 'keys read again'
[ "$(grep -c 'counts from the next start on' "$dir/log.4")" = 1 ] || fail "not one option stays"
logged 'counts from the next start on" option=grace'
has "$(get_as some-key)" 'Authentication error'
[ -z "$(get_as other-key)" ] || fail "the new key does not open it"
logged 'level=debug'
echo 'lisen = 1' >"$config"
kill -HUP "$server_pid"
logged 'the options before stay.*line 1: there is no option lisen'
[ -z "$(get_as other-key)" ] || fail "the key is gone"
kill -TERM "$server_pid"
stopped 0
