#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# TLS between whole programs, with an authority made on the spot: the API over HTTP/1.1 and HTTP/2,
# a certificate renewed under a server that runs, endpoints over https, and what becomes of calls
# and clients that must not trust whom they talk to. And HTTP/2 in clear text.
#
# usage: tls_test.sh DISPATCH ENDPOINT TLS_APP
set -eu
. "$(dirname "$0")/server_lib.sh"
app=$3
command -v openssl >/dev/null || { echo "openssl is not installed"; exit 77; }
unset SSL_CERT_FILE SSL_CERT_DIR DISPATCH_CA_FILE DISPATCH_API_URL
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY

input=hello
key=good

# --- certificates ---------------------------------------------------------------------------------

quietly() { "$@" >"$dir/openssl" 2>&1 || { cat "$dir/openssl"; fail "$*"; }; }
new_key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
# authority NAME: NAME.pem and its key
authority() {
    # shellcheck disable=SC2086 # words are wanted
    quietly openssl req -x509 $new_key -days 2 -subj "/CN=$1" -keyout "$dir/$1.key" \
        -out "$dir/$1.pem"
}
# issue FILE CN NAMES: FILE.pem and FILE.key, by the authority "ca", for these names
issue() {
    # shellcheck disable=SC2086 # words are wanted
    quietly openssl req $new_key -subj "/CN=$2" -keyout "$dir/$1.key.new" -out "$dir/request"
    echo "subjectAltName=$3" >"$dir/extensions"
    quietly openssl x509 -req -in "$dir/request" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
        -CAcreateserial -days 2 -extfile "$dir/extensions" -out "$dir/$1.pem"
    mv "$dir/$1.key.new" "$dir/$1.key"
}
authority ca
authority other
issue server first DNS:localhost
issue endpoint endpoint IP:127.0.0.1

# --- the API --------------------------------------------------------------------------------------

tls="--tls-cert $dir/server.pem --tls-key $dir/server.key"
secure() { api=https://localhost:${address##*:}; }
curl() { command curl --cacert "$dir/ca.pem" "$@"; }
# logged TEXT: waits for it in the N-th server's log
logged() { until grep -q "$1" "$dir/log.$n"; do sleep 0.02; done; }
subject() { curl -sv "$api/healthz" 2>&1 | sed -n 's/.*subject: CN=//p'; }

start_endpoint "$dir/endpoint.pem" "$dir/endpoint.key"
# shellcheck disable=SC2086 # words are wanted
cp "$dir/other.pem" "$dir/trusted.pem"
start 1 --api-key good --ca-file "$dir/trusted.pem" $tls
secure
for version in 1.1 2; do
    answer=$(curl -sS "--http$version" -w ' %{http_version}' "$api/readyz")
    has "$answer" ready
    [ "${answer##* }" = "$version" ] || fail "HTTP/$version was asked for: $answer"
done
if command curl -sS --cacert "$dir/other.pem" "$api/readyz" 2>"$dir/out"; then
    fail 'a certificate of another authority'
fi
if curl -sS "http://$address/readyz" 2>"$dir/out"; then fail 'clear text where TLS is spoken'; fi

# gRPC, which is HTTP/2 by what the handshake agreed on. An empty message is five bytes of zero; an
# error would have none. (curl does not show what is behind a body of known length.)
printf '\0\0\0\0\0' >"$dir/message"
curl -sv "$api/dispatch.sdk.v1.DispatchService/Dispatch" -H 'Authorization: Bearer good' \
    -H 'Content-Type: application/grpc' -H 'TE: trailers' --data-binary "@$dir/message" \
    -o "$dir/answer" 2>"$dir/out" || fail 'gRPC over TLS'
has "$(cat "$dir/out")" 'server accepted h2'
has "$(cat "$dir/out")" 'content-type: application/grpc+proto'
cmp "$dir/answer" "$dir/message" || fail 'no empty answer'

# A renewed certificate; one that cannot be used changes nothing.
[ "$(subject)" = first ] || fail "not the first certificate: $(subject)"
cp "$dir/other.key" "$dir/server.key"
kill -HUP "$server_pid"
logged 'the certificate before stays.*key values mismatch'
[ "$(subject)" = first ] || fail "not the first certificate: $(subject)"
issue server second DNS:localhost
kill -HUP "$server_pid"
logged "certificate read again.*server.pem"
[ "$(subject)" = second ] || fail "not the renewed certificate: $(subject)"

# --- an endpoint over https -----------------------------------------------------------------------

# This server trusts an authority that does not vouch for it,
id=$(dispatch echo | only_id)
[ -n "$id" ] || fail 'no id'
get() { post dispatch.v1.CallService/Get "{\"dispatchId\":\"$id\"}"; }
until get | grep -q TLS_ERROR; do sleep 0.02; done
has "$(get)" "https://$functions: the certificate cannot be verified"
# and then, when it has read the file again, ours.
echo none >"$dir/trusted.pem"
kill -HUP "$server_pid"
logged 'the authorities before stay.*trusted.pem'
cp "$dir/ca.pem" "$dir/trusted.pem"
kill -HUP "$server_pid"
logged 'authorities read again.*trusted.pem'
result=$(wait_for "$id")
has "$result" STATUS_OK
has "$result" hello
read -r ran <&4
[ "${ran% *}" = "echo $id" ] || fail "$ran"

# --- applications ---------------------------------------------------------------------------------

export DISPATCH_API_KEY=good DISPATCH_CA_FILE="$dir/ca.pem"
# refused TEXT VARIABLE=VALUE: with that, the application does not talk to the API
refused() {
    if env "$2" "$app" >"$dir/out" 2>&1; then fail "the application did not fail: $1"; fi
    has "$(cat "$dir/out")" "$1"
}
export DISPATCH_API_URL="$api"
# All runs go over one connection, agreed on in the handshake.
connections=$("$app" "$dir/endpoint.pem" "$dir/endpoint.key")
[ "$connections" = 1 ] || fail "$connections connections to an https endpoint"
# In clear text there is the one before, on which the endpoint told that it speaks HTTP/2.
connections=$("$app")
[ "$connections" -le 2 ] || fail "$connections connections to an endpoint in clear text"
refused 'certificate cannot be verified' "DISPATCH_CA_FILE=$dir/other.pem"
refused "authorities from $dir/none: No such file" "DISPATCH_CA_FILE=$dir/none"
refused 'certificate cannot be verified' DISPATCH_CA_FILE=
env DISPATCH_CA_FILE= SSL_CERT_FILE="$dir/ca.pem" "$app" >"$dir/out" || fail 'SSL_CERT_FILE'
refused 'IP address mismatch' "DISPATCH_API_URL=https://127.0.0.1:${address##*:}"
kill -TERM "$server_pid"
stopped 0

# --- clear text -----------------------------------------------------------------------------------

start 3 --api-key good --listen 0.0.0.0:0
answer=$(curl -sS --http2-prior-knowledge -w ' %{http_version}' "$api/readyz")
has "$answer" ready
[ "${answer##* }" = 2 ] || fail "HTTP/2 was asked for: $answer"
has "$(curl -sS "$api/readyz")" ready
[ "$(grep -c 'level=warn.*clear text.*address=0.0.0.0:' "$dir/log.3")" = 1 ] ||
    fail 'no warning about clear text'
if grep -q 'clear text.*address=127' "$dir/log.3"; then fail 'a warning about the loopback'; fi
kill -TERM "$server_pid"
stopped 0
