#!/usr/bin/env bash
# Measures dlock beside its peers on this machine, with servers of its own on loopback, and writes what it has found to
# benches/results, README.md and docs/benchmarks.md. Installs first what it needs (Debian, Ubuntu), libraries below target/.
#
#   benches/run.sh                 three runs of everything but the largest sizes, about half an hour
#   benches/run.sh --full          1,000 waiters, 10,000 keys and a build from nothing as well, about an hour
#   benches/run.sh --quick         one short run, which only shows that it works; nothing of it is kept in the project
#   benches/run.sh --only start memory --rounds 1000 --runs 5     see --help
#
#   DLOCK_BENCH_PROGRAM=/path/dlock DLOCK_BENCH_ZOOKEEPER_PEER=/path/zookeeper-peer      measure these, build nothing
#
# It ends with status 1 when a target was missed, unless it was --quick.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=tests/packages.sh
. tests/packages.sh
# shellcheck source=.cargo/target.sh
. .cargo/target.sh

home=$PWD/target/benches
libraries=(redis==8.1.0 kazoo==2.11.0 python-redis-lock==4.0.1 matplotlib==3.11.2)

# For shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin

missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v nm >/dev/null || echo binutils
    command -v flock >/dev/null || echo util-linux
    command -v redis-server >/dev/null || echo redis-server
    command -v java >/dev/null || echo default-jre-headless
    [ -e /usr/share/java/zookeeper.jar ] || echo libzookeeper-java
    command -v openssl >/dev/null || echo openssl
    command -v strace >/dev/null || echo strace
    python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
}

install_missing "the benchmarks need a C linker, nm, flock, redis-server, java, ZooKeeper 3.8 as \
/usr/share/java/zookeeper.jar, openssl, strace and python3 with venv"

# Whether Debian's packages have $1: a machine whose lists were never fetched knows of none.
updated=
has_package() {
    command -v apt-get >/dev/null || return
    [ -z "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)/\1/p')" ] || return 0
    [ -z "$updated" ] || return
    updated=yes
    as_root apt-get update -q >"$home/apt.log" 2>&1 && has_package "$1"
}

missing=()
# A peer that cannot be had is named in the results: $1 is its program, $2 what it is called there, the rest its packages.
peer() {
    local program=$1 name=$2
    shift 2
    command -v "$program" >/dev/null && return
    if has_package "$1"; then
        printf '%s: installing %s\n' "${0#./}" "$*" >&2
        install_without_starting "$@" >"$home/apt.log" 2>&1 && return
        missing+=("--missing" "$name=the package $1 could not be installed")
    else
        missing+=("--missing" "$name=Debian's packages here do not have $1")
    fi
    printf '%s: not measured: %s\n' "${0#./}" "$name" >&2
}

mkdir -p "$home"
peer etcd 'etcdctl lock' etcd-server etcd-client
peer etcdctl 'etcdctl lock' etcd-client
peer setlock setlock daemontools
peer consul 'consul lock' consul

python=$home/python/bin/python
if [ "$(cat "$home/python.done" 2>/dev/null)" != "${libraries[*]}" ]; then
    python3 -m venv "$home/python"
    # The newest that this Python can have, where it is too old for these.
    "$python" -m pip install -q --disable-pip-version-check "${libraries[@]}" ||
        "$python" -m pip install -q --disable-pip-version-check "${libraries[@]%%=*}" ||
        fail "could not install ${libraries[*]}"
    printf '%s' "${libraries[*]}" >"$home/python.done"
fi

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.91 or later, see https://rustup.rs"
target=$(installed_target)
programs=(--dlock "${DLOCK_BENCH_PROGRAM:-}")
compared=${DLOCK_BENCH_ZOOKEEPER_PEER:-}
if [ -z "${DLOCK_BENCH_PROGRAM:-}" ]; then
    # As install.sh does.
    copy_program "$(built --release --target "$target" --package dlock-cli --bin dlock)" "$home/dlock"
    copy_program "$(built --release --target "$target" --package zookeeper-peer)" "$home/zookeeper-peer"
    programs=(--dlock "$home/dlock")
    compared=$home/zookeeper-peer
fi
if [ -n "$compared" ]; then
    programs+=(--zookeeper-peer "$compared")
else
    missing+=("--missing" "zookeeper-peer=DLOCK_BENCH_ZOOKEEPER_PEER is not set")
fi

PYTHONPATH=benches PYTHONPYCACHEPREFIX="$home/cache" "$python" -m harness --root "$PWD" --home "$home" --target "$target" \
    --python "$python" "${programs[@]}" "${missing[@]}" "$@"
