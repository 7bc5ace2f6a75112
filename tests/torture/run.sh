#!/usr/bin/env bash
# Tortures dlock: many processes on real servers, and everything goes wrong that can. See README.md beside this file.
#
#   tests/torture/run.sh                                  every topology for 20 seconds, one after the other
#   tests/torture/run.sh --seconds 1800 redis ensemble    these, for half an hour each
#   tests/torture/run.sh --seed 17 redis                  the same jobs and the same misfortunes once more
#   tests/torture/run.sh --check FILE redis               looks at a history again that was made on this topology
#   tests/torture/run.sh --defects [DEFECT…]              switches on one defect after the other: each has to be found
#
#   --processes N     so many at a time (16)
#   --program FILE    this dlock, and not the one that is built here without optimisation
#   --histories DIR   keeps the histories there, and the figures as results.jsonl
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'tests/torture/run.sh: %s\n' "$1" >&2
    exit 1
}

seconds=20 wants_defects='' names=()
# It ends when its time is over, or at the first thing that is wrong: a defect shows within this or not at all.
seconds_for_defects=180
export DLOCK_TORTURE_SEED='' DLOCK_TORTURE_PROCESSES='' DLOCK_TORTURE_PROGRAM='' DLOCK_TORTURE_HISTORIES=''
export DLOCK_TORTURE_RECORDED=''
while [ $# -gt 0 ]; do
    case $1 in
        --defects) wants_defects=yes && shift && continue ;;
        --*) [ $# -gt 1 ] || fail "$1 wants a value" ;;
        *) names+=("$1") && shift && continue ;;
    esac
    case $1 in
        --seconds) seconds=$2 seconds_for_defects=$2 ;;
        --seed) DLOCK_TORTURE_SEED=$2 ;;
        --processes) DLOCK_TORTURE_PROCESSES=$2 ;;
        --program) DLOCK_TORTURE_PROGRAM=$(realpath "$2") ;;
        --histories) mkdir -p "$2" && DLOCK_TORTURE_HISTORIES=$(realpath "$2") ;;
        --check) DLOCK_TORTURE_RECORDED=$(realpath "$2") ;;
        *) fail "there is no option $1; the comment at the top of this file has them all" ;;
    esac
    shift 2
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "--seconds takes a whole number of seconds, and not \"$seconds\""
# Times are judged here, where nothing else runs, and not by `cargo test`.
export DLOCK_TEST_SECONDS=$seconds RUST_TEST_THREADS=1 DLOCK_TORTURE_JUDGES_SPEED=yes

topologies() {
    sed -n '/^#\[test\]$/{n;s/^fn \([a-z_]*\)() {$/\1/p}' "$here/mod.rs"
}

torture() {
    "$here/../run.sh" --test it "torture::$1" -- --exact --nocapture
}

# Runs every defect for as long as it takes the torture to complain of it, and says which it did not find.
defects() {
    local defect topology kinds said missed=() found=0 began
    cargo build --manifest-path "$here/../../Cargo.toml" --features seeded-defects --bin dlock
    local built
    built=$(cargo metadata --manifest-path "$here/../../Cargo.toml" --format-version 1 --no-deps |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    mkdir -p "$built/seeded-defects"
    cp "$built/$(rustc -vV | sed -n 's/^host: //p')/debug/dlock" "$built/seeded-defects/dlock"
    export DLOCK_TORTURE_PROGRAM=$built/seeded-defects/dlock DLOCK_TEST_SECONDS=$seconds_for_defects
    while read -r defect topology kinds; do
        [[ $defect == '#'* ]] && continue
        [ "${#names[@]}" -eq 0 ] || [[ " ${names[*]} " == *" $defect "* ]] || continue
        began=$SECONDS
        if said=$(DLOCK_DEFECT=$defect DLOCK_TORTURE_LOOKS_FOR=$kinds torture "$topology" </dev/null 2>&1); then
            missed+=("$defect")
            printf '%-30s NOT FOUND on %s in %s s\n' "$defect" "$topology" $((SECONDS - began))
        elif said=$(grep -o 'went wrong: .*' <<<"$said") && [[ $said =~ (${kinds// /|}) ]]; then
            found=$((found + 1))
            printf '%-30s found on %s after %s s: %s\n' "$defect" "$topology" $((SECONDS - began)) "${said#went wrong: }"
        else
            missed+=("$defect")
            printf '%-30s NOT what %s complains of: %s\n' "$defect" "$topology" "${said:-it did not run}"
        fi
    done <"$here/defects.txt"
    printf '%s defects found' "$found"
    [ "${#missed[@]}" -eq 0 ] || printf ', %s not: %s' "${#missed[@]}" "${missed[*]}"
    printf '\n'
    [ "${#missed[@]}" -eq 0 ] && [ "$found" -gt 0 ]
}

if [ -n "$wants_defects" ]; then
    defects
    exit
fi
mapfile -t known < <(topologies)
[ "${#names[@]}" -gt 0 ] || names=("${known[@]}")
wrong=()
for name in "${names[@]}"; do
    [[ " ${known[*]} " == *" $name "* ]] || fail "there is no topology \"$name\"; there are ${known[*]}"
    torture "$name" || wrong+=("$name")
done
[ "${#wrong[@]}" -eq 0 ] || fail "went wrong: ${wrong[*]}"
