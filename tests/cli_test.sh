#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The command line: help, errors that say what to do, exit statuses.
#
# usage: cli_test.sh DISPATCH VERSION
set -eu
dispatch=$1 version=$2
unset DISPATCH_API_KEYS DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_BRIDGE_URL
unset DISPATCH_ENDPOINT_URL

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export DISPATCH_CONFIG_PATH="$dir/config.toml"

# says STATUS TEXT ARGUMENT...: the command ends so, and TEXT is in what it says
says() {
    wanted=$1 text=$2
    shift 2
    status=0
    "$dispatch" "$@" >"$dir/out" 2>&1 </dev/null || status=$?
    if [ "$status" != "$wanted" ] || ! grep -q -e "$text" "$dir/out"; then
        echo "failed: dispatch $*: status $status, not $wanted, or no '$text' in:"
        cat "$dir/out"
        exit 1
    fi
}

says 2 'Usage: dispatch COMMAND'
says 0 'Usage: dispatch COMMAND' help
says 0 'Usage: dispatch COMMAND' --help
says 0 'Usage: dispatch server' help server
says 0 'Usage: dispatch server' server --help
says 0 'curl http' server -h
says 0 'Exit status' server --insecure --help
says 0 'Usage: dispatch run .*-- COMMAND' help run
says 0 '-s, --session ID' run -h
says 2 'no command to run' run --session x
says 0 "^$version\$" version
says 0 "^$version\$" --version
says 0 '^dispatch version devel' -v
says 0 '^Account Management Commands:' help
says 2 'no command sever: did you mean server' sever
says 2 'no command sever: did you mean server' help sever
says 2 'no command xyzzy' xyzzy
says 2 'Try: dispatch help' xyzzy
says 2 'no option --lisen: did you mean --listen' server --lisen :1
says 2 'no option --xyzzy' server --xyzzy
says 2 '--store needs a value: --store URL' server --store
says 2 '--insecure takes no value' server --insecure=yes
says 2 'options begin with two dashes' server -x
says 2 'options only: now' server now
says 2 'no API key.*--api-key' server --store memory:
says 2 'which call. get ID' get
says 2 'one call at a time' get a b
says 1 'sqlite:PATH' get x --store memory:
says 1 'No such file' get x --store "sqlite:$dir/none/store"
says 1 'says whom to ask' get x --server http://127.0.0.1:1
says 2 'what is to be done. keys create|list|revoke|confirm' keys
says 2 'which function. call FUNCTION' call
says 2 'where is f. --endpoint URL' call f
says 2 'is the JSON in quotes' call f {a b}
says 2 'no time, as' call f --at noon
says 2 'no duration, as' call f --in soon
says 2 'no number, as' call f --priority high
says 2 'about the result: --wait' call f --endpoint http://x --json
says 1 'a text wants quotes' call f text --endpoint http://x --store "sqlite:$dir/store.db"
says 1 'a text wants quotes' complete x text
says 2 'for which calls. wait ID' wait
says 2 'which call. cancel ID' cancel
says 2 'no option --wiat: did you mean --wait' call f --wiat
says 2 'which call. complete ID, or' complete
says 2 'either an ID or --key' complete ID 1 --key k
says 2 'an output or to an error' complete ID 1 --error e
says 2 'about an error' complete ID --status OK
says 1 'there is no status TIMEOOUT' complete ID --error e --status TIMEOOUT
says 2 'dispatch get ID shows one call' ls ID
says 2 'a number from 1 to' ls --limit 0
says 2 'PERMANENT_ERROR, TIMEOUT' ls --status broken
says 0 'not done in time' help wait
says 2 'there is no keys drop' keys drop
says 2 'keys revoke: which one' keys revoke
says 2 'one argument too many' keys list all
says 1 'sqlite:PATH' keys list --store memory:
says 1 'unable to open\|No such file' keys list --store "sqlite:$dir/none/store"
says 1 'either --server or --store' verification get --server http://x --store sqlite:x
says 1 'leave --org out' verification get --server http://x --org acme
says 1 'http:// or https://' verification get --server ftp://x
says 0 'connect to 127.0.0.1:1: ' verification get --server http://127.0.0.1:1
says 2 'printable ASCII' server --api-key 'two words'
says 2 'cannot read the API keys' server --api-key-file "$dir/none"
says 2 'a time is written like' server --insecure --grace soon
says 2 'no run would have time' server --insecure --run-timeout 0s
says 2 'a number from 1 to' server --insecure --max-runs 0
says 2 'a number from 1 to' server --insecure --max-runs 10x
says 2 'it should be .SCHEME://.HOST' server --insecure --allow-endpoint a:b
says 2 'lambda-url ftp://h: it is no http:// or' server --insecure --lambda-url ftp://h
says 2 'addresses are given as a range' server --insecure --allow-endpoint '10.*'
says 2 'for an hour at least' server --insecure --retention-time 59m
says 2 'a size is written like' server --insecure --retention-size 10GB
says 2 'it is logfmt or json' server --log-format xml
says 2 'it is debug' server --log-level loud
says 2 'not an open descriptor' server --ready-fd 99
says 2 'API keys are needed' server --insecure --listen 0.0.0.0:0 --store memory:
says 2 'tls-key.*without --tls-cert' server --insecure --tls-key x --store memory:
says 2 'tls-cert.*without --tls-key' server --insecure --tls-cert x --store memory:
says 2 "certificate from $dir/none: No such file" server --insecure --listen 127.0.0.1:0 \
    --tls-cert "$dir/none" --tls-key "$dir/none" --store memory:
says 2 "authorities from $dir/none: No such file" server --insecure --listen 127.0.0.1:0 \
    --ca-file "$dir/none" --store memory:
says 2 'port' server --insecure --listen 127.0.0.1:99999 --store memory:
says 2 'store' server --insecure --listen 127.0.0.1:0 --store file:x
says 1 "$dir/none" server --insecure --listen 127.0.0.1:0 --store "sqlite:$dir/none/x.db"

# --- the configuration file, and files of variables

says 1 'Please run .dispatch login. to login to Dispatch. Alternatively, set the DISPATCH_API_KEY' \
    run --bridge-url http://127.0.0.1:1 --session x -- true
printf "active = 'x'\n[Organizations.a]\napi_key = 'secret'\n" >"$dir/config.toml"
says 1 "invalid active organization 'x' found in configuration. Please run .dispatch login. or" \
    run --bridge-url http://127.0.0.1:1 --session x -- true
printf "[Organizations.a]\napi_key = secret\n" >"$dir/config.toml"
says 1 "configuration file $dir/config.toml, line 2: api_key is a string" verification get \
    --server http://127.0.0.1:1
rm "$dir/config.toml"
echo 'DISPATCH_API_URL=http://127.0.0.1:2' >"$dir/env"
says 0 'connect to 127.0.0.1:2: ' --env-file "$dir/env" verification get
says 0 'connect to 127.0.0.1:2: ' verification get --env-file "$dir/env"
says 0 'connect to 127.0.0.1:2: ' -k x verification get --env-file="$dir/env"
says 2 "failed to load env file from $dir/none: No such file" --env-file "$dir/none" version
echo 'A B' >"$dir/env"
says 2 "failed to load env file from $dir/env: line 1: there is no '='" run --env-file "$dir/env"

# --- templates

says 2 'which template' init
says 2 'no template rust: there are c, cpp and python' init rust
says 1 'no template for Go here' init go
says 1 "the directory $dir is not empty" init c "$dir"
says 1 "$dir/none/app: No such file" init c "$dir/none/app"
says 0 "^    cd $dir/py\$" init python "$dir/py"
says 1 "the directory $dir/py is not empty" init python "$dir/py"
! command -v python3 >/dev/null ||
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$dir/py/main.py"

# --- completion

says 2 'for which shell' completion
says 2 'there are bash, zsh and fish' completion tcsh
for shell in bash zsh fish; do
    "$dispatch" completion "$shell" >"$dir/$shell"
    ! command -v "$shell" >/dev/null || "$shell" -n "$dir/$shell" || {
        echo "failed: $shell cannot read its completions"
        exit 1
    }
    for command in $("$dispatch" help | sed -n '/Commands:$/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
        grep -q "\b$command\b" "$dir/$shell" || { echo "failed: $shell: no $command"; exit 1; }
    done
done
# completes WANTED WORD...: what bash offers for the last word
completes() {
    wanted=$1
    shift
    found=$(bash -c '. "$0"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _dispatch
        echo "${COMPREPLY[*]}"' "$dir/bash" "$@")
    [ "$found" = "$wanted" ] || { echo "failed: $*: '$found' is offered, not '$wanted'"; exit 1; }
}
if command -v bash >/dev/null; then
    completes 'switch' dispatch sw
    completes 'switch' dispatch --api-key x sw
    completes 'get rollout' dispatch verification ''
    completes 'rollout' dispatch -k x verification ro
    completes '--session' dispatch run --se
    completes '--env-file' dispatch run --env
    completes '' dispatch run --session ''
    completes '' dispatch run -s --se
    completes '' dispatch run -- --se
    completes 'verification version' dispatch help ver
    completes '' dispatch none ''
fi
