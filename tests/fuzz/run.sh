#!/usr/bin/env bash
# Lets libFuzzer look for inputs that break a promise; README.md beside this file tells what is promised.
#
#   tests/fuzz/run.sh                                 every target, the same first inputs each time: nothing new in CI
#   tests/fuzz/run.sh --seconds 600                   and for ten minutes each
#   tests/fuzz/run.sh --seconds 600 redis-url holder  these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=tests/packages.sh
. tests/packages.sh

# For shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin

# A run that is to look for something new says for how long.
bounds=(-seed=1 -runs=1000 -max_total_time=10)
targets=()
while [ "$#" -gt 0 ]; do
    case $1 in
        --seconds)
            bounds=(-max_total_time="${2:?--seconds takes a number}")
            shift
            ;;
        -*) fail "unknown option $1; see the head of this file" ;;
        *) targets+=("$1") ;;
    esac
    shift
done
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(find tests/fuzz/corpus -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)

missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v c++ >/dev/null || echo g++
}
install_missing "libFuzzer is built by a C++ compiler"

# What cargo-fuzz asks the compiler for, without the sanitizers, which need a nightly one: which edges an input takes, and
# what is compared with what. It replaces the flags of .cargo/config.toml, and is for this target alone.
coverage=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    "--cfg fuzzing"
)
work=target/fuzz
RUSTFLAGS=${coverage[*]} cargo build --release --locked --manifest-path tests/fuzz/Cargo.toml --target-dir "$work"
engine=$(find "$work"/*/release -maxdepth 1 -name dlock-fuzz -type f)

# Files that are written and read again a thousand times a second belong into memory.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

failed=()
mkdir -p "$work/found"
for target in "${targets[@]}"; do
    seeds=tests/fuzz/corpus/$target
    [ -d "$seeds" ] || fail "there is no target $target"
    mkdir -p "$work/corpus/$target"
    log=$work/$target.log
    # What is found anew is kept below target/; a slow machine is no hang.
    if DLOCK_FUZZ_TARGET=$target "$engine" "$work/corpus/$target" "$seeds" -dict=tests/fuzz/dictionary \
        "${bounds[@]}" -max_len=8192 -timeout=30 -rss_limit_mb=1024 -use_value_profile=1 \
        -artifact_prefix="$work/found/$target-" -print_final_stats=1 </dev/null >"$log" 2>&1; then
        printf '%-18s %9s inputs, %s edges\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: //p' "$log")" \
            "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)"
    else
        failed+=("$target")
        printf '%-18s BROKEN, see %s\n' "$target" "$log"
        grep -a -e panicked -A 2 -e 'Test unit written' -e 'ERROR: libFuzzer' "$log" || tail -n 20 "$log"
    fi
done

[ "${#failed[@]}" -eq 0 ] || fail "broken: ${failed[*]}; the inputs are in $work/found"
