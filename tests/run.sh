#!/usr/bin/env bash
# Runs dlock's tests on real servers, and first installs what they need (Debian, Ubuntu).
#
#   tests/run.sh                          all tests
#   tests/run.sh crash::                  those whose names contain this; all arguments go to `cargo test`
#   DLOCK_TEST_SECONDS=60 tests/run.sh    let those that contend again and again go on for a minute
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "not root and no sudo: run as root: $*"
    fi
}

# What is missing, as Debian's packages.
missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v redis-server >/dev/null || echo redis-server
    command -v java >/dev/null || echo default-jre-headless
    [ -e /usr/share/java/zookeeper.jar ] || echo libzookeeper-java
    command -v openssl >/dev/null || echo openssl
    command -v setsid >/dev/null || echo util-linux
    command -v vi >/dev/null || echo vim-tiny
    command -v less >/dev/null || echo less
    command -v make >/dev/null || echo make
    command -v strace >/dev/null || echo strace
    command -v sudo >/dev/null || echo sudo
    command -v curl >/dev/null || echo curl
    command -v sqlite3 >/dev/null || echo sqlite3
    perl -MTime::HiRes -MPOSIX -e 1 2>/dev/null || echo perl
}

# Debian starts the services of a package that it installs; nobody asked for these, and the tests start their own.
# The package manager asks policy-rc.d, and 101 means "no".
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d kept=
    if [ -e "$policy" ]; then
        kept=$(mktemp -u "$policy.kept.XXXXXX")
        as_root mv "$policy" "$kept"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    local status=0
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    } </dev/null || status=$?
    as_root rm -f "$policy"
    [ -z "$kept" ] || as_root mv "$kept" "$policy"
    return "$status"
}

# Where rustup puts it, for shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.91 or later, see https://rustup.rs"

read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
if [ "${#packages[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null ||
        fail "the tests need a C linker, redis-server, openssl, java, ZooKeeper 3.8 as /usr/share/java/zookeeper.jar," \
            "vi, less, make, strace, sudo, curl, sqlite3 and perl; on Debian and Ubuntu this script would install: ${packages[*]}"
    printf 'tests/run.sh: installing %s\n' "${packages[*]}" >&2
    install_without_starting "${packages[@]}" || fail "could not install ${packages[*]}"
fi

[ "$(id -u)" -eq 0 ] ||
    printf 'tests/run.sh: not root: the tests about other users'"'"' files, directories, sudo and limits check less\n' >&2

# Not the release profile: its link-time optimisation takes longer than all tests together.
exec cargo test "$@"
