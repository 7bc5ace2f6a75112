"""The targets, and whether each run has held them."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound for a figure of each run; every one of them has to hold."""

    what: str
    most: float
    figure: Callable
    unit: str = ""
    # The bound is the least that is good.
    least: bool = False
    digits: int = 2


def growing(run):
    """By how much the requests per hand-over of the longest queue exceed those of the shortest."""
    lengths = sorted(run["counts"]["hand_over"], key=int)
    first, last = (run["counts"]["hand_over"][length]["dlock redis"] for length in (lengths[0], lengths[-1]))
    return max(0.0, last - first)


def start_of(name, ratio="to_flock"):
    """The ratio of a start."""
    return lambda run: run["start"][name][ratio]["ratio"]


def both(run, what):
    """The larger of the memories of dlock on files and on Redis and in ZooKeeper, in MB."""
    return max(sizes[what] for name, sizes in run["memory"].items() if name.startswith("dlock ")) / 1000


def listed(run, name):
    """Seconds of a list of 10,000 keys."""
    return run["keys"][name]["10000"]["list_ms"]["median"] / 1000


def crowd_lost(run):
    """Of a thousand waiters how many were lost or served out of their order."""
    rows = [row for row in run["crowd"].values() if row["waiters"] >= 1000]
    if not rows:
        raise KeyError("1000")
    return sum(row["lost"] + (0 if row["in_order"] else 1) for row in rows)


def hundred(run, figure):
    """A figure of the gap behind 100 contenders."""
    row = run["hand_over"]["100"]["dlock redis"]
    return row["to_flock"]["ratio"] if figure == "median" else row["p95_to_flock"]


TARGETS = (
    Target(
        "`dlock run --backend file -k f -- true` against `flock f true`, whole process", 1.15, start_of("dlock file")
    ),
    Target("with Redis, against `flock f true`", 1.35, start_of("dlock redis")),
    Target(
        "`etcdctl lock` against dlock with Redis",
        10,
        lambda run: run["start"]["dlock redis"]["etcdctl_to_it"],
        least=True,
        digits=1,
    ),
    Target(
        "with ZooKeeper, against a program on the same crate that does the least", 1.25, start_of("dlock zk", "to_peer")
    ),
    Target(
        "Redis: round trips of a run that nobody contends with, no password",
        2,
        lambda run: run["counts"]["uncontended"]["dlock redis"]["round_trips"],
        digits=0,
    ),
    Target(
        "gap between jobs, 100 contenders, Redis, against flock's: median", 1.25, lambda run: hundred(run, "median")
    ),
    Target("the same at the 95th percentile", 2, lambda run: hundred(run, "p95")),
    Target(
        "Redis: client requests per hand-over, 100 waiters",
        5,
        lambda run: run["counts"]["hand_over"]["100"]["dlock redis"],
    ),
    Target("by how much they grow from the fewest waiters to the most", 0, growing),
    Target(
        "ZooKeeper: notifications per release, 200 waiters",
        1,
        lambda run: (
            run["counts"]["notifications"]["per_release"] if run["counts"]["notifications"]["waiters"] >= 200 else 1 / 0
        ),
    ),
    Target(
        "ZooKeeper: requests in a tenth of the TTL while holding 8 keys, pings aside",
        1.1,
        lambda run: run["counts"]["holding"]["8"]["per_tenth"],
    ),
    Target(
        "Redis: requests of a waiter beyond its looks at the lease",
        0,
        lambda run: run["counts"]["waiting"]["dlock redis"]["beyond_checks"],
        digits=0,
    ),
    Target(
        "ZooKeeper: requests of a waiter, pings aside",
        0,
        lambda run: run["counts"]["waiting"]["dlock zk"]["beyond_checks"],
        digits=0,
    ),
    Target("resident memory while holding, both processes, RSS", 6, lambda run: both(run, "rss_kb"), "MB", digits=2),
    Target("the same, PSS", 3, lambda run: both(run, "pss_kb"), "MB", digits=2),
    Target(
        "system calls per second while holding, file", 0, lambda run: run["system_calls"]["dlock file"]["per_second"]
    ),
    Target("the same, Redis", 0, lambda run: run["system_calls"]["dlock redis"]["per_second"]),
    Target("the same, ZooKeeper", 0, lambda run: run["system_calls"]["dlock zk"]["per_second"]),
    Target("1,000 waiters on one key: lost, or served out of order", 0, crowd_lost, digits=0),
    Target("`dlock list` of 10,000 held keys, file", 1, lambda run: listed(run, "dlock file"), "s"),
    Target("the same, Redis", 1, lambda run: listed(run, "dlock redis"), "s"),
    Target("the same, ZooKeeper", 1, lambda run: listed(run, "dlock zk"), "s"),
)


def verdicts(runs):
    """For each target what was measured in each run, and `held`, `missed`, or `not measured`."""
    found = []
    for target in TARGETS:
        values = []
        for run in runs:
            try:
                values.append(target.figure(run))
            except (KeyError, ZeroDivisionError):
                pass
        if not values:
            verdict = "not measured"
        elif all(value >= target.most if target.least else value <= target.most for value in values):
            verdict = "held"
        else:
            verdict = "missed"
        found.append((target, values, verdict))
    return found


def shown(target, value):
    """A value as it is written, with its unit."""
    return f"{value:.{target.digits}f}" + (f" {target.unit}" if target.unit else "")


def bound(target):
    """The bound as it is written."""
    return f"{'≥' if target.least else '≤'} {target.most:g}" + (f" {target.unit}" if target.unit else "")


def middle(values):
    """The median of the runs."""
    return statistics.median(values)
