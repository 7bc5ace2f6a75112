#!/usr/bin/env bash
# Runs dlock's tests on real servers, and first installs what they need (Debian, Ubuntu).
#
#   tests/run.sh                          all tests
#   tests/run.sh crash::                  those whose names contain this; all arguments go to `cargo test`
#   DLOCK_TEST_SECONDS=60 tests/run.sh    let those that contend again and again go on for a minute
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=tests/packages.sh
. tests/packages.sh
# shellcheck source=.cargo/target.sh
. .cargo/target.sh

# What is missing, as Debian's packages.
missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v redis-server >/dev/null || echo redis-server
    command -v java >/dev/null || echo default-jre-headless
    [ -e /usr/share/java/zookeeper.jar ] || echo libzookeeper-java
    command -v openssl >/dev/null || echo openssl
    command -v setsid >/dev/null || echo util-linux
    command -v ip >/dev/null || echo iproute2
    command -v vi >/dev/null || echo vim-tiny
    command -v less >/dev/null || echo less
    command -v make >/dev/null || echo make
    command -v strace >/dev/null || echo strace
    command -v sudo >/dev/null || echo sudo
    command -v curl >/dev/null || echo curl
    command -v sqlite3 >/dev/null || echo sqlite3
    command -v zsh >/dev/null || echo zsh
    command -v fish >/dev/null || echo fish
    command -v python3 >/dev/null || echo python3
    perl -MTime::HiRes -MPOSIX -e 1 2>/dev/null || echo perl
}

# Where rustup puts it, for shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.91 or later, see https://rustup.rs"

install_missing "the tests need a C linker, redis-server, openssl, java, ZooKeeper 3.8 as \
/usr/share/java/zookeeper.jar, vi, less, make, strace, iproute2, sudo, curl, sqlite3, zsh, fish, python3 and perl"

[ "$(id -u)" -eq 0 ] ||
    printf 'tests/run.sh: not root: the tests about other users'"'"' files, directories, sudo, limits and networks check less\n' >&2

# Nearly all that a test does is to wait. More at a time would want more memory for their servers than many machines have.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) < 2 ? 6 : 10))}

# The tests themselves are of this system's C library, the program that they test of the one that people get: that with
# this system's is tested by what calls cargo itself (tests/versions.sh, tests/zookeeper.sh, tests/interop/run.sh).
if [ -z "${DLOCK_TEST_PROGRAM:-}" ]; then
    target=$(installed_target)
    [ "$target" = "$(host_target)" ] || DLOCK_TEST_PROGRAM=$(built --bin dlock --target "$target")
    export DLOCK_TEST_PROGRAM
fi

# Not the release profile: its link-time optimisation takes longer than all tests together.
exec cargo test "$@"
