#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# lint_test.sh SOURCE_ROOT: does `./dev lint` find what it says it finds?
#
# The tree is copied to a temporary directory and linted there, once as it is, which must pass, and
# once after one violation of each kind was planted, each of which must be named, with its file.
set -eu

source=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
out=$tree/lint.out
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

lint() { # its findings in $out, which is no part of the tree
    (cd "$tree/copy" && ./dev lint) >"$out" 2>&1
}

licence='// SPDX-License-Identifier: Apache-2.0'

# plant FILE MESSAGE: stdin becomes the file; the message is what lint has to say of it.
expected=
plant() {
    mkdir -p "$(dirname "$tree/copy/$1")"
    cat >"$tree/copy/$1"
    expected="$expected$1|$2
"
}

mkdir "$tree/copy"
for part in "$source"/* "$source"/.clang-format; do
    case ${part##*/} in
    build | build-*) ;;
    *) cp -R "$part" "$tree/copy/" ;;
    esac
done

lint || {
    cat "$out" >&2
    fail 'the tree as it is does not pass'
}

# --- The arrows between rooms ---
printf '%s\n#include "store/store.h"\n' "$licence" |
    plant src/engine/planted_arrow.c 'engine may not know store (store/store.h)'
printf '%s\n#include "net/net.h"\n' "$licence" |
    plant src/orchestrator/planted_arrow.c 'orchestrator may not know net (net/net.h)'
printf '%s\n#include "wire/wire.h"\n' "$licence" |
    plant src/base/planted_arrow.c 'base may not know wire (wire/wire.h)'
printf '%s\n#include <uv.h>\n' "$licence" |
    plant src/server/planted_uv.c 'server may not include uv.h: it belongs to net'
printf '%s\n#include <sqlite3.h>\n' "$licence" |
    plant src/orchestrator/planted_sqlite.c 'orchestrator may not include sqlite3.h'
printf '%s\n#include <openssl/ssl.h>\n' "$licence" |
    plant src/sdk/planted_tls.c 'sdk may not include openssl/ssl.h: it belongs to net, wire'
printf '%s\n#include "dispatch/sdk/v1/call.pb-c.h"\n' "$licence" |
    plant src/server/planted_codec.c 'it belongs to wire'
printf '%s\n#include <time.h>\n' "$licence" |
    plant src/engine/planted_clock.c 'engine may never include time.h'
printf '%s\n#include "../base/buf.h"\n' "$licence" |
    plant src/wire/planted_dots.c 'name headers from src/'
printf '%s\n' "$licence" | plant src/attic/planted.c 'no room attic'

# --- Calls ---
for call in sprintf strcpy strcat gets strtok rand srand system alloca atoi usleep sleep; do
    printf '%s\nint planted(void)\n{\n    return %s();\n}\n' "$licence" "$call" |
        plant "src/base/planted_$call.c" "$call() is banned"
done
printf '%s\nint planted(void)\n{\n    return sleep(1);\n}\n' "$licence" |
    plant tests/planted_sleep.c 'sleep() is banned'

# --- Text ---
echo 'int planted;' | plant src/base/planted_licence.c 'the first line does not say SPDX'
printf '#!/bin/sh\necho\n' | plant tests/planted_licence 'the first line does not say SPDX'
printf '%s\n/* %0100d */\n' "$licence" 0 | plant src/base/planted_width.h '106 columns'
printf '%s\nint planted; \n' "$licence" | plant src/base/planted_blank.c 'blanks at the end'
printf '%s\n\tint planted;\n' "$licence" | plant src/base/planted_tab.c 'a tab'
printf '%s\nint planted;' "$licence" | plant src/base/planted_end.c 'no newline at the end'
printf '# Planted\n\nSee /%s/dispatch.\n' work | plant docs/planted.md 'a path of one machine'
printf '%s\nint  planted ;\n' "$licence" | plant src/base/planted_format.c 'not as clang-format'
{
    echo "$licence"
    yes 'extern int planted;' | head -n 800
} | plant src/base/planted_long.h '801 lines'
{
    printf '%s\nvoid planted(void)\n{\n' "$licence"
    yes '    planted();' | head -n 71
    echo '}'
} | plant src/base/planted_function.c 'a function of 71 lines'

# --- Comments of the public header ---
{
    cat "$source/include/dispatch_sdk.h"
    printf '\nDISPATCH_SDK_API void dispatch_planted(void);\n'
} | plant include/dispatch_sdk.h 'dispatch_planted has no comment'

# --- And what is none of these, however it looks ---
cat >"$tree/copy/src/engine/innocent_test.c" <<'END'
// SPDX-License-Identifier: Apache-2.0
// Not a call: sprintf(strcpy(system())). A test may print.
#include <stdio.h>

#include "base/buf.h"

struct innocent {
    int (*sleep)(int);
};

int innocent_sleep(struct innocent *i);
int innocent_sleep(struct innocent *i)
{
    puts("system(\"sleep(1)\"); /* gets() */");
    return i->sleep(1);
}
END
{
    printf '%s\n/*\n * Planted.\n * long: it is a table\n */\nvoid innocent(void)\n{\n' "$licence"
    yes '    innocent();' | head -n 900
    echo '}'
} >"$tree/copy/src/base/innocent.c"

if lint; then
    fail 'lint passes with everything planted'
fi
if grep -q innocent "$out"; then
    grep innocent "$out" >&2
    fail 'lint finds fault with the innocent'
fi
command -v clang-format >/dev/null || expected=$(echo "$expected" | grep -v planted_format)
echo "$expected" >"$tree/expected"
while IFS='|' read -r file message; do
    [ -n "$file" ] || continue
    grep "^$file:[0-9]*: " "$out" | grep -qF "$message" || fail "$file: nobody says: $message"
done <"$tree/expected"

if [ "$failures" -gt 0 ]; then
    cat "$out" >&2
    exit 1
fi
echo "$(grep -c planted "$tree/expected") planted violations found"
