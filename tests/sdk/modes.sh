#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# modes.sh served|embedded|run DISPATCH PROGRAM...: a suite of the SDK with a real orchestrator: a
# `dispatch server` beside it; inside it, on a store; or that of `dispatch run`, which starts it.
# All the program sees of that is its environment, where ORCHESTRATED says that there is one.
set -eu
exec </dev/null

mode=$1 dispatch=$2
shift 2
tmp=$(mktemp -d)
server=
trap 'test -z "$server" || kill -9 "$server" || true; rm -rf "$tmp"' EXIT
unset DISPATCH_API_URL DISPATCH_API_KEY DISPATCH_STORE DISPATCH_ENDPOINT_URL DISPATCH_REPLAY
export ORCHESTRATED="$mode"

serve() {
    rm -f "$tmp/ready"
    mkfifo "$tmp/ready"
    "$dispatch" server --listen 127.0.0.1:0 --store "sqlite:$tmp/served.db" --api-key secret \
        --ready-fd 3 3>"$tmp/ready" 2>"$tmp/log" &
    server=$!
    read -r address <"$tmp/ready"
    address=${address#http://}
}

serve # the port of this one is free for the functions when it is gone
kill -9 "$server"
wait "$server" 2>/dev/null || true
server= functions=$address
case $mode in
served)
    serve
    DISPATCH_API_URL=http://$address DISPATCH_API_KEY=secret \
        DISPATCH_ENDPOINT_ADDR=$functions DISPATCH_ENDPOINT_URL=http://$functions "$@"
    ;;
embedded) # what is there for servers is not for it
    DISPATCH_STORE=sqlite:$tmp/embedded.db DISPATCH_API_URL=http://127.0.0.1:1 \
        DISPATCH_ENDPOINT_ADDR=$functions DISPATCH_ENDPOINT_URL=http://127.0.0.1:1 "$@"
    ;;
run) XDG_STATE_HOME=$tmp "$dispatch" run --endpoint "$functions" -- "$@" ;;
esac
