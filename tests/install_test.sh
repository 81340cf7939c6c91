#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Does what is installed serve a stranger? The build is installed under a temporary directory, and
# only that is used: by pkg-config, by compilers, by man.
#
# usage: install_test.sh BUILD SOURCE files|c|c++
#   files  what is there: the command, names in the libraries, pages
#   c, c++ programs of tests/install, linked with the shared and with the static library
# environment: MESON, CC, CXX
set -eu
build=$1 tests=$2/tests what=$3

dir=$(mktemp -d)
log=$build/meson-logs/install-log.txt # what `ninja uninstall` goes by: it is left as it was
[ ! -f "$log" ] || cp "$log" "$dir/install-log"
restore() {
    if [ -f "$dir/install-log" ]; then cp "$dir/install-log" "$log"; else rm -f "$log"; fi
    rm -rf "$dir"
}
trap restore EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

root=$dir/root
$MESON install -C "$build" --no-rebuild --destdir "$root" >"$dir/out" 2>&1 || {
    cat "$dir/out" >&2
    fail 'meson install'
}
pc=$(find "$root" -name dispatch-sdk.pc)
[ -n "$pc" ] || fail 'there is no dispatch-sdk.pc'
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$root"
variable() { pkg-config --variable="$1" dispatch-sdk; }
libdir=$root$(variable libdir | sed "s|^$root||")
prefix=$root$(variable prefix | sed "s|^$root||")
header=$prefix/include/dispatch_sdk.h
shared=$libdir/libdispatch_sdk.so
static=$libdir/libdispatch_sdk.a

# --- What is there --------------------------------------------------------------------------------

# What the header says it gives away, asked of the compiler.
declared() {
    $CC -E -P "$header" | tr '\n' ' ' | sed 's/;/;\n/g' |
        sed -n 's/.*visibility("default")))[^(]*[ *]\([a-z0-9_]*\)(.*/\1/p' | sort -u
}

# The shared library has a test of its own, which the installed one must pass, too. The static one
# gives away the same names.
check_names() {
    sh "$tests/sdk/names_test.sh" "$shared" "$header" "$tests/sdk/gcd_names" ||
        fail 'names of the shared library'
    [ -e "$shared.0" ] || fail 'there is no libdispatch_sdk.so.0'
    declared >"$dir/declared"
    nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort -u >"$dir/archived"
    diff "$dir/declared" "$dir/archived" >&2 ||
        fail 'the static library gives away other names (>) than the header declares (<)'
    if grep -v '^dispatch_' "$dir/declared" >&2; then
        fail 'these names do not begin with dispatch_'
    fi
    grep -v '^#' "$tests/sdk/gcd_names" >"$dir/gcd"
    if grep -oE '\bdispatch_[a-z0-9_]+' "$header" | sort -u | grep -xEf "$dir/gcd" >&2; then
        fail 'the header uses these names of Grand Central Dispatch'
    fi
}

# Every name of the header that is for applications has a page: in what man shows for it there is a
# line with the name itself.
check_pages() {
    man1=$(find "$root" -name dispatch.1)
    [ -n "$man1" ] || fail 'dispatch has no manual page'
    man3=$(dirname "$man1")/../man3
    grep -oE '\b(struct|enum) dispatch_[a-z0-9_]+' "$header" | sed 's/.* //' >"$dir/names"
    sed -n 's/^#define \(DISPATCH_REGISTER[A-Z_]*\).*/\1/p' "$header" >>"$dir/names"
    cat "$dir/declared" >>"$dir/names"
    sort -u "$dir/names" | grep -v '_$' >"$dir/public"
    while read -r name; do
        page=$man3/$name.3
        [ -f "$page" ] || fail "$name has no manual page"
        other=$(sed -n '1s/^\.so man3/.so /p' "$page")
        [ -z "$other" ] || page=$man3/${other#.so /}
        grep -q "\\b$name\\b" "$page" || fail "the manual page of $name does not mention it"
    done <"$dir/public"
    echo "$(wc -l <"$dir/public") symbols have pages"
}

check_command() {
    "$prefix/bin/dispatch" version >"$dir/out" || fail 'the installed dispatch does not run'
    [ "$(cat "$dir/out")" = "$(pkg-config --modversion dispatch-sdk)" ] ||
        fail "dispatch version is not dispatch-sdk's: $(cat "$dir/out")"
}

# --- Programs -------------------------------------------------------------------------------------

# program COMPILER... SOURCE: compiled, linked in both ways, run
program() {
    # shellcheck disable=SC2046 # words are wanted
    "$@" -o "$dir/shared" $(pkg-config --cflags --libs dispatch-sdk) || fail "$* (shared)"
    LD_LIBRARY_PATH=$libdir "$dir/shared" || fail "$* (shared) ended with $?"
    readelf -d "$dir/shared" | grep -q 'NEEDED.*libdispatch_sdk\.so\.0' ||
        fail "$*: not linked with the shared library"

    libs=$(pkg-config --static --libs dispatch-sdk |
        sed 's/-ldispatch_sdk/-l:libdispatch_sdk.a/')
    # shellcheck disable=SC2046,SC2086 # words are wanted
    "$@" -o "$dir/static" $(pkg-config --cflags dispatch-sdk) $libs || fail "$* (static)"
    "$dir/static" || fail "$* (static) ended with $?"
    if readelf -d "$dir/static" | grep -q 'NEEDED.*dispatch'; then
        fail "$*: linked with the shared library in spite of all"
    fi
}

# template NAME VARIABLE=VALUE: what `dispatch init` makes of it builds and runs
template() {
    command -v make >/dev/null || {
        echo 'no make: the template was not tried'
        return 0
    }
    "$prefix/bin/dispatch" init "$1" "$dir/$1" >"$dir/out" || fail "dispatch init $1"
    make -C "$dir/$1" "$2" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; fail "template $1: make"; }
    found=$(cd "$dir/$1" && env -u DISPATCH_API_URL -u DISPATCH_API_KEY -u DISPATCH_STORE \
        XDG_STATE_HOME="$dir/state" LD_LIBRARY_PATH="$libdir" ./app) ||
        fail "template $1: it failed"
    [ "$found" = 'Hello, World! Hello, Dispatch!' ] || fail "template $1: it said '$found'"
}

# shellcheck disable=SC2086 # words are wanted
case $what in
files)
    check_command
    check_names
    check_pages
    ;;
c) program $CC -std=c11 -Wall -Wextra -Wpedantic -Werror "$tests/install/app.c"
    template c "CC=$CC" ;;
c++)
    command -v ${CXX%% *} >/dev/null || {
        echo 'no C++ compiler: nothing tried'
        exit 77
    }
    program $CXX -std=c++17 -Wall -Wextra -Wpedantic -Werror "$tests/install/app.cc"
    template cpp "CXX=$CXX"
    ;;
*) fail "no part $what" ;;
esac
