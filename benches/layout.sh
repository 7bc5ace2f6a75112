#!/usr/bin/env bash
# Writes src/hot.ld anew: which functions `dlock run` executes, on each backend, so that the linker puts them side by side.
# Needs what benches/run.sh has installed (call it once with --quick), and valgrind.
#
# After a change of what happens at the start, or of a dependency: the file only names functions, so that what it does not
# know any more lies elsewhere, and costs a page fault more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=.cargo/target.sh
. .cargo/target.sh

fail() {
    printf '%s: %s\n' "${0#./}" "$*" >&2
    exit 1
}

python=$PWD/target/benches/python/bin/python
[ -x "$python" ] || fail "call benches/run.sh --quick first, which installs the libraries"
command -v valgrind >/dev/null || fail "valgrind is missing: apt-get install valgrind"

target=$(installed_target)
directory=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
map=$directory/layout.map
# As it is installed, but for its symbols: the names of constants are those of this very source and this compiler.
cargo rustc --release --locked --bin dlock --target "$target" -- -C strip=none -C "link-arg=-Wl,-Map=$map"
case $target in
    *-musl) libc=$(rustc --print target-libdir --target "$target")/self-contained/libc.a ;;
    *) libc=$("${CC:-cc}" -print-file-name=libc.a) ;;
esac
cd benches && exec "$python" -m harness.layout "$directory/$target/release/dlock" "$libc" "$map" ../src/hot.ld
