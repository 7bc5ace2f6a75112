#!/usr/bin/env bash
# What `dlock run -- true` costs as a whole process, beside `flock FILE true`, interleaved in one run; and the memory of
# its two processes while a command runs.
#
#   benches/run.sh [ROUNDS]     default 400
#
# One after the other in each round, so that whatever else the machine does falls on all of them alike; medians,
# because the slow tail belongs to the machine. The lock file of flock is in the same directory as dlock's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'benches/run.sh: %s\n' "$*" >&2
    exit 1
}

rounds=${1:-400}
for tool in cargo flock redis-server python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --bin dlock --target "$host"
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
dlock=$target/$host/release/dlock

scratch=$(mktemp -d)
redis=
cleanup() {
    [ -z "$redis" ] || kill "$redis" 2>/dev/null || :
    rm -rf "$scratch"
}
trap cleanup EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$scratch" >"$scratch/redis.log" &
redis=$!
for _ in $(seq 100); do
    grep -q 'Ready to accept connections' "$scratch/redis.log" && break
    kill -0 "$redis" || fail "redis-server did not start: $(cat "$scratch/redis.log")"
    sleep 0.05
done

python3 - "$rounds" "$dlock" "$scratch" "$port" <<'END'
import os
import statistics
import sys
import time

rounds, dlock, scratch, port = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
true = "/usr/bin/true" if os.path.exists("/usr/bin/true") else "/bin/true"
flock = next(p for p in ("/usr/bin/flock", "/bin/flock") if os.path.exists(p))
# One short environment for all: its size is part of what starting a process costs.
environment = {"PATH": "/usr/bin:/bin", "HOME": scratch}
contenders = {
    "true": [true],
    "flock": [flock, f"{scratch}/flock", true],
    "dlock file": [dlock, "run", "--backend", "file", "--dir", scratch, "--key", "bench", "--", true],
    "dlock redis": [dlock, "run", "--redis", f"redis://127.0.0.1:{port}", "--key", "bench", "--", true],
}
times = {name: [] for name in contenders}
for number in range(rounds + 20):
    for name, words in contenders.items():
        began = time.perf_counter_ns()
        pid = os.posix_spawn(words[0], words, environment)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - began
        if status != 0:
            sys.exit(f"{' '.join(words)}: status {status}")
        if number >= 20:  # the first ones warm the caches
            times[name].append(took / 1000)

base = statistics.median(times["flock"])
print(f"{rounds} rounds, whole process, microseconds")
print(f"{'':12} {'median':>8} {'p90':>8} {'min':>8}  {'x flock':>7}")
for name, values in times.items():
    values.sort()
    median = statistics.median(values)
    p90 = values[int(len(values) * 0.9)]
    print(f"{name:12} {median:8.0f} {p90:8.0f} {values[0]:8.0f}  {median / base:7.2f}")


def memory(process):
    """RSS and PSS in kilobytes."""
    sizes = {}
    with open(f"/proc/{process}/smaps_rollup") as rollup:
        for line in rollup:
            name, _, value = line.partition(":")
            if name in ("Rss", "Pss"):
                sizes[name] = int(value.split()[0])
    return sizes["Rss"], sizes["Pss"]


print("\nwhile holding, both processes, kilobytes, after several renewals of a lease of 1 s")
print(f"{'':12} {'RSS':>8} {'PSS':>8}")
for name in ("dlock file", "dlock redis"):
    words = [*contenders[name][:-2], "--ttl", "1s", "--", "/bin/sleep", "2.5"]
    front = os.posix_spawn(words[0], words, environment)
    time.sleep(2)
    with open(f"/proc/{front}/task/{front}/children") as children:
        processes = [front, *map(int, children.read().split())]
    rss, pss = (sum(sizes) for sizes in zip(*map(memory, processes)))
    os.waitpid(front, 0)
    print(f"{name:12} {rss:8} {pss:8}")
END
