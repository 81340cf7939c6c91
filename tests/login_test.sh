#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Logging in to a server: by a code, as the original's command line polls for it, by a key; and
# what the commands do with what was written down.
#
# usage: login_test.sh DISPATCH ENDPOINT
set -eu
. "$(dirname "$0")/server_lib.sh"
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_CONSOLE_URL

keys() { "$dispatch" keys "$@" --store "sqlite:$store" 2>"$dir/said"; }
says() { has "$(cat "$dir/said")" "$1"; }
config() { has "$(cat "$dir/config.toml")" "$1"; }

has "$("$dispatch" switch acme)" 'Please run `dispatch login` to login to Dispatch.'
start 1

# By a code. The line that shows it is the signal that it is there.
mkfifo "$dir/login"
"$dispatch" login --server "$api" 2>"$dir/login" &
login_pid=$!
exec 5<"$dir/login"
code=''
while [ -z "$code" ]; do
    read -r line <&5 || fail 'login ended without a code'
    code=$(echo "$line" | sed -n 's/.*dispatch keys confirm \([A-Z-]*\).*/\1/p')
done
! keys confirm XXXX-XXXX || fail 'a code that nobody has was confirmed'
says 'there is no login XXXX-XXXX'
keys confirm "$code" --org acme
says 'gets key-2 of organization acme'
wait "$login_pid" || fail 'login failed'
cat <&5 >"$dir/said"
exec 5<&-
says 'Authentication successful'
says "Configuration file created at $dir/config.toml"
config "active = 'acme'"
config "api_url = '$api'"
[ -z "$(find "$dir/config.toml" -perm /077)" ] || fail 'others may read the configuration'
! keys confirm "$code" || fail 'a code counted twice'
has "$(keys list)" "login $code"

# What was written down is what commands go by.
has "$("$dispatch" verification rollout)" 'BEGIN PUBLIC KEY'
key=$(sed -n "s/^api_key = '\(.*\)'/\1/p" "$dir/config.toml")
other=$(keys create --org other)

# By a key.
"$dispatch" login --server "$api" --token "$other" 2>"$dir/said"
says 'Authentication successful'
config "active = 'other'"
! "$dispatch" login --server "$api" --token none 2>"$dir/said" || fail 'a wrong key was taken'
says 'Authentication failed. the key is not one of'
config "active = 'other'"
[ -z "$("$dispatch" verification get 2>"$dir/said")" ] || fail 'other has no key'
says 'Key not found'

# Between the two.
[ "$("$dispatch" switch)" = 'Available organizations:
- acme
- other' ] || fail "switch lists $("$dispatch" switch)"
[ "$("$dispatch" switch none)" = "Organization 'none' not found

Available organizations:
- acme
- other" ] || fail "switch to none says $("$dispatch" switch none)"
[ "$("$dispatch" switch acme)" = 'Switched to organization: acme' ] || fail 'switch'
"$dispatch" verification get >"$dir/out"
keys revoke key-2
[ -z "$("$dispatch" verification get 2>"$dir/said")" ] || fail 'a revoked key was good'
says 'Authentication error (please login again using: dispatch login)'
[ -z "$("$dispatch" verification get -k bad 2>"$dir/said")" ] || fail 'a wrong key was good'
says 'Authentication error (check the -k,--api-key command-line option)'

# As the original polls; a page for people; what is not a token.
token=$(printf '%064d' 7)
poll() { curl -sS -o "$dir/body" -D "$dir/head" -w '%{http_code}' \
    -H 'Content-Type: application/json' "$api/cli-login/token?token=$1"; }
[ "$(poll "$token")" = 204 ] || fail "the first poll: $(cat "$dir/head")"
code=$(curl -sS "$api/cli-login?token=$token" | sed -n 's/.*dispatch keys confirm \(.*\)/\1/p')
has "$(cat "$dir/head")" "$code"
[ "$(poll short)" = 400 ] || fail 'a short token was taken'
keys confirm "$(echo "$code" | tr A-Z a-z)"
! keys confirm "$code" || fail 'confirmed twice'
says 'was confirmed already'
[ "$(poll "$token")" = 200 ] || fail "after it was confirmed: $(cat "$dir/head")"
has "$(cat "$dir/body")" '{"organizations":[{"slug":"default","api_key":"dsp_'
[ "$(poll "$token")" = 204 ] || fail 'the key was told twice'
revoked=$key key=$other
has "$(post dispatch.v1.KeyService/ConfirmLogin '{}')" permission_denied
kill -TERM "$server_pid"
stopped 0
! grep -e "$revoked" -e "$other" "$dir"/log.* || fail 'a key was logged'
