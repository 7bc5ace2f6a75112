"""What all tables are made of: the middle of the runs, with what lies round it."""

import statistics

ORDER = (
    "true",
    "flock",
    "setlock",
    "dlock file",
    "dlock redis",
    "dlock redis, TLS",
    "redis-py",
    "python-redis-lock",
    "zookeeper-peer",
    "dlock zk",
    "kazoo",
    "etcdctl lock",
    "consul lock",
)


def table(heads, rows):
    """A table in Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def across(runs, *path):
    """The value at this path in every run that has it."""
    found = []
    for run in runs:
        at = run
        for step in path:
            at = at.get(step) if isinstance(at, dict) else None
        if at is not None:
            found.append(at)
    return found


def number(value):
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def middle(values, digits=None):
    """The median of the runs, with the least and the most of them where they differ; nothing where there are none."""
    if not values:
        return ""
    write = number if digits is None else lambda value: f"{value:.{digits}f}"
    low, mid, high = write(min(values)), write(statistics.median(values)), write(max(values))
    return mid if low == high else f"{mid} ({low}–{high})"


def spread(summaries):
    """The median of the runs' medians, and of their tenths from below and above."""
    if not summaries:
        return ""
    of = lambda mark: number(statistics.median(one[mark] for one in summaries))
    return f"{of('median')} [{of('p10')}–{of('p90')}]"


def median_of(summaries):
    """The median of the runs' medians."""
    return number(statistics.median(one["median"] for one in summaries)) if summaries else ""


def names(runs, *path):
    """The names below this path, in the order of all tables."""
    found = {name for one in across(runs, *path) for name in one}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def sizes(runs, *path):
    """The numbers below this path, ascending."""
    return sorted({name for one in across(runs, *path) for name in one}, key=int)


def duration(seconds):
    """As people write it."""
    seconds = int(seconds)
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def kinds(requests_of):
    """Requests by kind, as words."""
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in requests_of.items())
