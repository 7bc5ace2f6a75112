"""The same as pictures."""

import os

from .cells import ORDER, across, names, sizes
from .cells import number as number_of

COLOURS = {
    "true": "#bbbbbb",
    "flock": "#555555",
    "setlock": "#888888",
    "dlock file": "#1b6ca8",
    "dlock redis": "#c0392b",
    "dlock redis, TLS": "#e08a7d",
    "redis-py": "#e67e22",
    "python-redis-lock": "#f1b24a",
    "zookeeper-peer": "#a3d9a5",
    "dlock zk": "#1e8449",
    "kazoo": "#76b041",
    "etcdctl lock": "#7d3c98",
    "consul lock": "#ca6f9b",
}


def median(values):
    """Of the runs."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def bars(plt, path, title, labels, values, low=None, high=None, log=False):
    """One bar for each tool, with its spread."""
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(labels) + 1.2))
    spread = None
    if low:
        spread = [[v - a for v, a in zip(values, low)], [b - v for v, b in zip(values, high)]]
    axes.barh(labels, values, xerr=spread, color=[COLOURS.get(label, "#999999") for label in labels], ecolor="#333333")
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    if log:
        axes.set_xscale("log")
    for number, value in enumerate(values):
        axes.annotate(f" {number_of(value)}", (high[number] if high else value, number), va="center", fontsize=8)
    axes.margins(x=0.15)
    save(plt, figure, path)


def lines(plt, path, title, across_x, curves, xlabel, ylabel):
    """One curve for each tool."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name, values in curves.items():
        points = [(x, y) for x, y in zip(across_x, values) if y is not None and y > 0]
        axes.plot(*zip(*points), marker="o", markersize=4, label=name, color=COLOURS.get(name)) if points else None
    logarithmic(axes)
    axes.set_xticks(across_x, [f"{x:,}" for x in across_x])
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save(plt, figure, path)


def logarithmic(axes):
    """Both axes, with numbers that one can read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, marks in ((axes.xaxis, (1,)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=marks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_locator(NullLocator())


def save(plt, figure, path):
    """Without the date, so that the same results make the same file."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw(result, directory):
    """All pictures of the parts that were measured."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "dlock"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    runs = result["runs"]
    at = lambda name: os.path.join(directory, f"{name}.svg")

    tools = names(runs, "start")
    if tools:
        of = {name: across(runs, "start", name, "ms") for name in tools}
        mark = lambda what: [median(one[what] for one in of[name]) for name in tools]
        title = "whole process with `true`: median, p10 to p90, ms"
        bars(plt, at("start"), title, tools, mark("median"), mark("p10"), mark("p90"), log=True)
    tools = names(runs, "memory")
    if tools:
        values = [median(across(runs, "memory", name, "pss_kb")) / 1000 for name in tools]
        bars(plt, at("memory"), "memory while holding, PSS of all processes, MB", tools, values, log=True)
    curves_of(plt, at("gap"), runs, ("hand_over",), ("ms", "median"), ("gap between jobs", "contenders", "ms, median"))
    title = ("requests of clients per hand-over", "waiters", "requests")
    curves_of(plt, at("requests"), runs, ("counts", "hand_over"), (), title)
    title = ("hand-over against waiters", "waiters", "ms, median")
    curves_of(plt, at("growth-waiters"), runs, ("growth", "waiters"), ("ms", "median"), title)
    keys(plt, at("growth-keys"), runs)
    delays(plt, at("growth-delay"), runs)


def curves_of(plt, path, runs, where, what, words):
    """Curves over the numbers that stand below `where`."""
    columns = sizes(runs, *where)
    if not columns:
        return
    curves = {}
    for name in names(runs, *where, columns[-1]):
        found = [across(runs, *where, column, name, *what) for column in columns]
        curves[name] = [median(values) if values else None for values in found]
    lines(plt, path, words[0], [int(column) for column in columns], curves, words[1], words[2])


def keys(plt, path, runs):
    """One more run and a list, against the held keys."""
    found = across(runs, "keys")
    if not found:
        return
    columns = sorted({size for one in found for row in one.values() for size in row}, key=int)
    figure, both = plt.subplots(1, 2, figsize=(9, 3.8))
    for axes, what in zip(both, ("run_ms", "list_ms")):
        for name in (name for name in ORDER if name in found[0]):
            values = [across(runs, "keys", name, size, what, "median") for size in columns]
            axes.plot(
                [int(size) for size in columns],
                [median(value) for value in values],
                "o-",
                label=name,
                color=COLOURS[name],
            )
        logarithmic(axes)
        axes.set_title("one more run, ms" if what == "run_ms" else "list of all, ms", fontsize=10)
        axes.set_xlabel("held keys")
        axes.grid(alpha=0.3)
    both[0].legend(fontsize=8)
    save(plt, figure, path)


def delays(plt, path, runs):
    """The whole of a run against the way to the server."""
    found = across(runs, "growth", "delay")
    if not found:
        return
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name in names(runs, "growth", "delay"):
        row = found[0][name]["delays"]
        columns = sorted(row, key=int)
        whole = []
        for delay in columns:
            parts = across(runs, "growth", "delay", name, "delays", delay)
            whole.append(median(one["to_command_ms"]["median"] + one["from_command_ms"]["median"] for one in parts))
        axes.plot([int(delay) for delay in columns], whole, "o-", markersize=4, label=name, color=COLOURS[name])
    axes.set_title("whole run against the delay of each way", fontsize=10)
    axes.set_xlabel("ms one way")
    axes.set_ylabel("ms")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save(plt, figure, path)
