#!/bin/sh
# Builds dlock and installs the binary, its man pages and its completions; --uninstall removes exactly that.
set -eu

usage() {
    cat <<'END'
usage: ./install.sh [--prefix DIR] [--uninstall]

  --prefix DIR   install below DIR (default: /usr/local for root, ~/.local for others)
  --uninstall    remove what an install with the same prefix put there

DESTDIR is put before every path, for packagers. It is built for CARGO_BUILD_TARGET, or else with musl on x86-64 where Rust
has that, or rustup gets it.
END
}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

project=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=.cargo/target.sh
. "$project/.cargo/target.sh"

prefix=
action=install
while [ $# -gt 0 ]; do
    case $1 in
        --prefix)
            [ $# -gt 1 ] || { usage >&2; exit 64; }
            prefix=$2
            shift
            ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        --uninstall) action=uninstall ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
    shift
done
if [ -z "$prefix" ]; then
    if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=${HOME:?HOME is not set: say --prefix DIR}/.local; fi
fi
case $prefix in
    /*) ;;
    *) prefix=$PWD/$prefix ;;
esac
root=${DESTDIR:-}$prefix
# One line for everything that was installed, directories last and innermost first: "file PATH" or "dir PATH", the
# path relative to the prefix.
manifest=$root/share/dlock/installed

uninstall() {
    [ -e "$manifest" ] || fail "nothing was installed below $root (there is no $manifest)"
    listed=$(cat "$manifest")
    rm -f "$manifest"
    printf '%s\n' "$listed" | while read -r kind path; do
        case $kind in
            file) rm -f "$root/$path" ;;
            # Only what the install made, and only when nobody else has put anything there since.
            dir) rmdir "$root/$path" 2>/dev/null || : ;;
        esac
    done
    printf 'removed dlock from %s\n' "$root"
}

# Makes a directory and its parents, and notes those that were not there.
make_dir() {
    [ ! -d "$root/$1" ] || return 0
    case $1 in */*) make_dir "${1%/*}" ;; esac
    mkdir -p "$root/$1"
    made="dir $1
$made"
}

put() {
    mode=$1 source=$2 directory=$3 name=$4
    make_dir "$directory"
    # In one step: a cron job that starts now finds the old file or the new one.
    case $mode in
        755) copy_program "$source" "$root/$directory/.$name.new" ;;
        *) install -m "$mode" "$source" "$root/$directory/.$name.new" ;;
    esac
    mv -f "$root/$directory/.$name.new" "$root/$directory/$name"
    files="${files}file $directory/$name
"
}

build() {
    # Where rustup puts it, for shells that have not read the profile.
    PATH=$PATH:${HOME:-/root}/.cargo/bin
    command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.91 or later, see https://rustup.rs"
    command -v cc >/dev/null || fail "a C linker is missing: on Debian and Ubuntu: apt-get install gcc libc6-dev"
    cd "$project"
    binary=$(built --release --bin dlock --target "$(installed_target)") || fail "the build failed"
    [ -x "$binary" ] || fail "the build left no program"
}

install_all() {
    build
    made=
    files=
    earlier=$(cat "$manifest" 2>/dev/null || :)
    put 755 "$binary" bin dlock
    for page in "$project"/man/*.1; do
        put 644 "$page" share/man/man1 "${page##*/}"
    done
    put 644 "$project/completions/dlock.bash" share/bash-completion/completions dlock
    put 644 "$project/completions/_dlock" share/zsh/site-functions _dlock
    put 644 "$project/completions/dlock.fish" share/fish/vendor_completions.d dlock.fish
    make_dir share/dlock
    # What an earlier version put here and this one does not have goes; the directories that it made stay noted.
    printf '%s\n' "$earlier" | while read -r kind path; do
        case $kind in file) printf '%s' "$files" | grep -qxF "file $path" || rm -f "$root/$path" ;; esac
    done
    printf '%s%s%s\n' "$files" "$made" "$(printf '%s\n' "$earlier" | grep '^dir ' || :)" >"$manifest"

    printf 'installed %s, its man pages and its completions\n' "$root/bin/dlock"
    case :$PATH: in
        *":$prefix/bin:"*)
            found=$(command -v dlock || :)
            if [ -n "$found" ] && [ "$found" != "$prefix/bin/dlock" ]; then
                printf 'but "dlock" is %s in this shell: that one comes first in PATH\n' "$found"
            fi
            ;;
        *)
            printf '%s is not in PATH; until it is, "dlock" is not found. Say, now and in your profile:\n' "$prefix/bin"
            printf "    export PATH=\"%s:\$PATH\"\n" "$prefix/bin"
            ;;
    esac
}

case $action in
    install) install_all ;;
    uninstall) uninstall ;;
esac
