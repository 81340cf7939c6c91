#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The view of `dispatch run` on a real terminal, which tmux is: its screens are those in tests/view
# and in docs/view.md, but for times, ids and durations; and the terminal is given back as it was,
# however it ends. With -u, the screens are written instead of compared.
#
# usage: view_test.sh [-u] DISPATCH ENDPOINT TESTS_DIRECTORY
set -eu
update='' patience=600
[ "$1" != -u ] || { update=1 patience=60; shift; }
dispatch=$1 endpoint=$2 tests=$3
command -v tmux >/dev/null || { echo "tmux is not installed"; exit 77; }
command -v curl >/dev/null || { echo "curl is not installed"; exit 77; }

dir=$(mktemp -d)
export LC_ALL=C.UTF-8 XDG_STATE_HOME="$dir/state" ENDPOINT="$endpoint" DIR="$dir" TZ=UTC
unset DISPATCH_API_KEY DISPATCH_API_URL DISPATCH_BRIDGE_URL NO_COLOR TMUX
term() { tmux -S "$dir/tmux" -f /dev/null "$@"; }
clean_up() {
    status=$?
    [ "$status" = 0 ] || term capture-pane -p 2>/dev/null | sed 's/^/last screen: /'
    term kill-server 2>/dev/null || :
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
fail() { echo "failed: $*"; exit 1; }

# A port that is free now.
mkfifo "$dir/fifo" "$dir/go"
"$endpoint" >"$dir/fifo" &
read -r address <"$dir/fifo"
kill $!
wait $! || :

cat >"$dir/lib.sh" <<'EOF'
dispatch() { # the body of a DispatchRequest
    printf '%s' "$1" | curl -sS --fail -o "$DIR/ids" -d @- \
        -H "Authorization: Bearer $DISPATCH_API_KEY" -H 'Content-Type: application/json' \
        "$DISPATCH_API_URL/dispatch.sdk.v1.DispatchService/Dispatch"
}
call() {
    printf '{"endpoint":"%s","function":"%s","input":{%s,"value":%s}}' "$DISPATCH_ENDPOINT_URL" \
        "$1" '"@type":"type.googleapis.com/google.protobuf.StringValue"' "\"$2\""
}
mkfifo "$DIR/runs"
"$ENDPOINT" >"$DIR/runs" & # its first line is its address
echo $! >"$DIR/endpoint"
exec 4<"$DIR/runs"
read -r address <&4
EOF

# begin COLUMNS ROWS OPTION... -- COMMAND...: in a terminal of that size, whose modes are noted
# before and after
begin() {
    size="-x $1 -y $2"
    shift 2
    rm -f "$dir/runs" "$dir/after"
    cat >"$dir/shell" <<EOF
stty -g >"$dir/before"
"$dispatch" run --endpoint $address --store memory: $*
echo "it ended with \$?"
stty -g >"$dir/after.new"
mv "$dir/after.new" "$dir/after"
exec sleep 1000
EOF
    # shellcheck disable=SC2086 # words are wanted
    term new-session -d -s view $size "exec sh '$dir/shell'"
}
# What an application leaves behind holds the port.
over() {
    term kill-session -t view
    until_true free || fail 'the endpoint lives on'
}
free() {
    left=$(cat "$dir/endpoint")
    ! kill "$left" 2>/dev/null || grep -q '^State:.Z' "/proc/$left/status"
}
keys() { term send-keys -t view "$@"; }
screen() { term capture-pane -p -t view; }

# Times, ids and durations are not the same twice.
mask() {
    sed -E -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}([T ])[0-9:]{8}\.[0-9]{3}/2026-11-22\100:00:00.000/g' \
        -e 's/[0-9a-z]{25}(-[0-9a-f]+)?/ID/g' -e 's/^ID: [0-9a-z]{16}$/ID: ID/' \
        -e 's/^ [0-9a-z]{9}$/ ID/' -e 's/ +$//' \
        -e 's/^( *(Duration|Latency): ).*/\11ms/' \
        -e 's/ +(\?|[0-9hm.]+s) (•|✔|✗)/        1ms \2/'
}
# Tries until the command succeeds.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt "$patience" ] || return 1
        sleep 0.05
    done
}
shows() { screen | grep -q -e "$1"; }
says() { until_true shows "$1" || fail "the screen does not have '$1'"; }
looks() { screen | mask >"$dir/screen"; cmp -s "$dir/screen" "$tests/view/$1.txt"; }
# The screen is the one in tests/view/NAME.txt.
is() {
    until_true looks "$1" && return
    [ "$update" ] || { diff -u "$tests/view/$1.txt" "$dir/screen"; fail "screen $1"; }
    cp "$dir/screen" "$tests/view/$1.txt"
}
given_back() {
    until_true [ -e "$dir/after" ] || fail "it has not ended"
    cmp "$dir/before" "$dir/after" || fail "the terminal's modes are others"
    flags=$(term display-message -p -t view '#{alternate_on} #{cursor_flag} #{keypad_flag}')
    [ "$flags" = '0 1 0' ] || fail "the terminal is left as $flags"
}

# --- screens

cat >"$dir/app" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
read -r line <"$DIR/go"
dispatch "{\"calls\":[$(call tree 'größe 日本語 😀')]}"
for i in 1 2 3 4 5 6; do read -r run <&4; done
printf 'wide: 日本語 😀 e\314\201\n\033[31mred\033[0m, \033[2Ja title\033]0;t\007, \377 and a tab\t.\n'
dispatch "{\"calls\":[$(call tail again)]}"
echo done
read -r line <"$DIR/go"
exit 3
EOF
chmod +x "$dir/app"
begin 90 24 -- "$dir/app"
says 'Waiting for function calls'
is waiting
echo go >"$dir/go"
is functions
keys Tab
says 'done$'
screen | mask | grep '^  app ' >"$dir/seen"
printf '  app      | %s\n' "$(printf 'wide: 日本語 😀 e\314\201')" \
    'red, a title, � and a tab    .' 'done' | cmp "$dir/seen" - ||
    fail "the application's lines are others"
keys Tab s 1
is select
keys Enter
is detail
keys Tab Tab Tab
says '^               ID:'
keys Escape s 3 Escape
is functions
term resize-window -t view -x 50 -y 9
is resized
term resize-window -t view -x 20 -y 5
is narrow
keys s 1 Enter
is narrow-detail
term resize-window -t view -x 90 -y 24
is detail
keys Escape
is functions

# An application that fails: what was logged is there to read.
echo go >"$dir/go"
says 'it ended with 1'
given_back
says "failed to invoke command '$dir/app': exit status 3"
screen | grep -q '^app      | done$' || fail "the log was not written"
screen | grep -q '^dispatch | .* function tail-called' || fail "the log was not written"
over

# --- ends

cat >"$dir/quiet" <<'EOF'
#!/bin/sh
. "$DIR/lib.sh"
echo $$ >"$DIR/pid.new"
mv "$DIR/pid.new" "$DIR/pid"
wait
EOF
chmod +x "$dir/quiet"
# ends COMMAND...: makes it end
ends() {
    wanted=$1
    shift
    rm -f "$dir/pid"
    begin 80 24 -- "$dir/quiet"
    says 'Waiting for function calls'
    until_true [ -e "$dir/pid" ] || fail 'the application did not start'
    "$@"
    says "it ended with $wanted"
    given_back
    over
}
run_pid() { sed -n 's/^PPid:[^0-9]*//p' "/proc/$(cat "$dir/pid")/status"; }
signal_run() { kill "-$1" "$(run_pid)"; }
signal_app() { kill "-$1" "$(cat "$dir/pid")"; }
ends 0 keys q
ends 0 keys C-c
ends 0 keys Escape
ends 0 signal_run TERM
ends 0 signal_run HUP
ends 139 signal_run SEGV
ends 1 signal_app KILL

# A terminal that cannot be drawn on gets lines.
cat >"$dir/shell" <<EOF
TERM=dumb "$dispatch" run --endpoint $address --store memory: -- sh -c 'echo hello'
echo "it ended with \$?"
exec sleep 1000
EOF
term new-session -d -s view -x 80 -y 24 "exec sh '$dir/shell'"
says 'it ended with 1'
says '^sh       | hello$'
term kill-session -t view

# --- many calls

cat >"$dir/many" <<'EOF'
#!/bin/sh
set -eu
. "$DIR/lib.sh"
cat <&4 >/dev/null &
calls=$(for i in 1 2 3 4 5 6 7 8 9 10; do call echo x; done | sed 's/}{/},{/g')
calls="$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls"
for i in 1 2 3 4 5; do
    dispatch "{\"calls\":[$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls,$calls]}"
done
dispatch "{\"calls\":[$(call hang x)]}"
read -r line <"$DIR/go"
exit 3
EOF
chmod +x "$dir/many"
begin 80 24 --verbose -- "$dir/many"
says '5001 total function calls, 1 in-flight'
echo go >"$dir/go"
says 'it ended with 1'
given_back
closed=$(term capture-pane -p -J -S - -t view |
    sed -n 's/.*view closed drawn=\([0-9]*\) ms=\([0-9]*\).*/\1 \2/p')
drawn=${closed% *} ms=${closed#* }
echo "drawn $drawn times in $ms ms"
[ "$drawn" -le $((ms / 100 + 2)) ] || fail "it was drawn $drawn times in $ms ms"
over

# --- the page about it shows one of these screens

sed 's/^/    /; s/ *$//' "$tests/view/functions.txt" | sed '/^ *$/d' >"$dir/shown"
grep -v '^ *$' "$tests/../docs/view.md" | grep -F -x -f "$dir/shown" | cmp - "$dir/shown" ||
    fail "docs/view.md shows another screen than tests/view/functions.txt"
