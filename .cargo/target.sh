#!/bin/sh
# Which target the program that people get is built for; for scripts that source this: install.sh, tests/run.sh,
# benches/*.sh.
#
# On x86-64 that is the one with musl as C library: with it a start of dlock takes a sixth less than with a static glibc,
# which asks the processor 68 times what it can do (docs/benchmarks.md). rustup has it; where a distribution's Rust has not,
# or rustup cannot fetch it, the system's C library does. CARGO_BUILD_TARGET decides otherwise, as for cargo itself.

host_target() {
    rustc -vV | sed -n 's/^host: //p'
}

# Prints the target. Fetches what rustup can fetch.
installed_target() {
    if [ -n "${CARGO_BUILD_TARGET:-}" ]; then
        printf '%s\n' "$CARGO_BUILD_TARGET"
        return
    fi
    target=$(host_target)
    if [ "$target" = x86_64-unknown-linux-gnu ]; then
        musl=x86_64-unknown-linux-musl
        has_std_for "$musl" || ! command -v rustup >/dev/null || rustup target add "$musl" >&2 || :
        if has_std_for "$musl"; then
            target=$musl
        else
            printf '%s: Rust has no %s here (rustup target add %s): building for %s, which starts a fifth slower\n' \
                "${0##*/}" "$musl" "$musl" "$target" >&2
        fi
    fi
    printf '%s\n' "$target"
}

has_std_for() {
    library=$(rustc --print target-libdir --target "$1" 2>/dev/null) && [ -d "$library" ]
}

# Builds with these arguments of cargo, and prints where the program is.
built() {
    said=$(cargo build --locked --message-format=json-render-diagnostics "$@") || return
    printf '%s\n' "$said" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# Copies the program $1 to $2, in writes of this size: a file that was written lies in the page cache in pieces as large as
# its writes, and a start maps piece by piece: it takes a thirtieth less than with what cp or install write. With larger ones
# each process would map more than it may count in memory (docs/benchmarks.md).
copy_program() {
    rm -f "$2"
    dd if="$1" of="$2" bs=256k status=none && chmod 755 "$2"
}
