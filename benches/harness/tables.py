"""The tables of what a lock costs."""

import statistics

from . import targets
from .cells import across, kinds, median_of, middle, names, number, sizes, spread, table


def circumstances(result):
    """Date, machine and versions in two sentences."""
    at, count = result["machine"], len(result["runs"])
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    missing = "; ".join(f"{name} ({why})" for name, why in sorted(result["not_measured"].items()))
    lines = (
        f"{result['date']}, {count} run{'s' if count > 1 else ''}; {at['processor']}, {at['cores']} cores, "
        f"{at['memory_gb']} GB, {at['system']}, kernel {at['kernel']}, load before {at['load_before']}. "
        f"All servers on loopback. {versions}."
    )
    return lines + (f" Not measured: {missing}." if missing else "")


def overview(result):
    """One line for each tool: what a reader compares."""
    runs, rows = result["runs"], []
    most = (sizes(runs, "hand_over") or ["0"])[-1]
    longest = (sizes(runs, "counts", "hand_over") or ["0"])[-1]
    for name in names(runs, "start"):
        gaps = across(runs, "hand_over", most, name, "ms")
        rows.append(
            (
                name,
                spread(across(runs, "start", name, "ms")),
                middle(across(runs, "start", name, "to_flock", "ratio"), 2),
                median_of(gaps),
                number(statistics.median(one["p95"] for one in gaps)) if gaps else "",
                middle([size / 1000 for size in across(runs, "memory", name, "rss_kb")], 1),
                middle([size / 1000 for size in across(runs, "memory", name, "pss_kb")], 1),
                middle(across(runs, "counts", "hand_over", longest, name), 1),
            )
        )
    heads = ["", "whole process, ms [p10–p90]", "× flock", f"gap, {most} contenders, ms", "p95", "RSS, MB", "PSS, MB"]
    return table([*heads, f"requests per hand-over, {longest} waiters"], rows)


def verdict(result):
    """The targets."""
    rows = []
    for target, values, said in targets.verdicts(result["runs"]):
        shown = "" if not values else targets.shown(target, targets.middle(values))
        if values and min(values) != max(values):
            shown += f" ({targets.shown(target, min(values))}–{targets.shown(target, max(values))})"
        rows.append((target.what, targets.bound(target), shown, f"**{said}**" if said == "missed" else said))
    return table(["what", "target", "median of the runs (least–most)", ""], rows)


def starts(result):
    """Whole processes."""
    runs, rows = result["runs"], []
    for name in names(runs, "start"):
        ratios = across(runs, "start", name, "to_flock")
        sure = f"{min(one['low'] for one in ratios):.2f}–{max(one['high'] for one in ratios):.2f}"
        of = across(runs, "start", name, "ms")
        row = (
            name,
            median_of(of),
            *(number(statistics.median(one[mark] for one in of)) for mark in ("p10", "p90", "p95")),
        )
        rows.append((*row, middle([one["ratio"] for one in ratios], 2), sure, of[0]["n"]))
    heads = ["", "median, ms", "p10", "p90", "p95", "× flock (least–most run)", "95 % of resamplings", "rounds"]
    return table(heads, rows)


def gaps(result):
    """Between jobs."""
    runs, rows = result["runs"], []
    crowds = sizes(runs, "hand_over")
    for name in names(runs, "hand_over", crowds[-1]):
        row = [name]
        for crowd in crowds:
            of = across(runs, "hand_over", crowd, name, "ms")
            row += [median_of(of), number(statistics.median(one["p95"] for one in of)) if of else ""]
        of = across(runs, "hand_over", crowds[-1], name)
        row += [middle([one["to_flock"]["ratio"] for one in of], 2), middle([one["p95_to_flock"] for one in of], 2)]
        rows.append(row)
    heads = [word for crowd in crowds for word in (f"{crowd} contenders, ms", "p95")]
    return table(["", *heads, f"× flock, {crowds[-1]}", "p95 × flock"], rows)


def memories(result):
    """While holding."""
    runs = result["runs"]
    rows = [
        (
            name,
            across(runs, "memory", name, "processes")[0],
            middle([size / 1000 for size in across(runs, "memory", name, "rss_kb")], 2),
            middle([size / 1000 for size in across(runs, "memory", name, "pss_kb")], 2),
        )
        for name in names(runs, "memory")
    ]
    return table(["", "processes", "RSS, MB", "PSS, MB"], rows)


def requests(result):
    """Per hand-over."""
    runs = result["runs"]
    crowds = sizes(runs, "counts", "hand_over")
    rows = [
        (name, *(middle(across(runs, "counts", "hand_over", crowd, name), 2) for crowd in crowds))
        for name in names(runs, "counts", "hand_over", crowds[-1])
    ]
    return table(["requests per hand-over", *(f"{crowd} waiters" for crowd in crowds)], rows)


def paths(result):
    """What a run asks for, a waiter, and a holder."""
    runs, rows = result["runs"], []
    for name in names(runs, "counts", "uncontended"):
        alone = across(runs, "counts", "uncontended", name)
        waiting = across(runs, "counts", "waiting", name)
        per_minute = [one["requests"] * 60 / one["seconds"] for one in waiting]
        pings = [one["pings"] * 60 / one["seconds"] for one in waiting]
        rows.append(
            (
                name,
                kinds(alone[-1]["requests"]),
                middle([one["round_trips"] for one in alone], 0),
                middle(per_minute, 0),
                middle(pings, 0),
            )
        )
    heads = ["", "an uncontended run asks for", "round trips", "a waiter's requests per minute", "its pings"]
    return table(heads, rows)


def told(result):
    """ZooKeeper's notifications and a holder's requests, and the system calls of the two processes."""
    runs, rows = result["runs"], []
    for one in across(runs, "counts", "notifications")[:1]:
        per = middle(across(runs, "counts", "notifications", "per_release"), 2)
        rows.append((f"notifications per release, {one['waiters']} waiters, zk", per))
    for keys in sizes(runs, "counts", "holding"):
        per = middle(across(runs, "counts", "holding", keys, "per_tenth"), 2)
        rows.append((f"requests in TTL/10 while holding, zk, keys: {keys}", per))
    for name in names(runs, "system_calls"):
        if name == "not_measured":
            rows.append(("system calls", across(runs, "system_calls", name)[0]))
        else:
            per = middle(across(runs, "system_calls", name, "per_second"), 2)
            rows.append((f"system calls per second while holding, {name}", per))
    return table(["", "count"], rows)


def long_queues(result):
    """Order and loss."""
    runs, rows = result["runs"], []
    for name in names(runs, "crowd"):
        of = across(runs, "crowd", name)
        well = all(one["in_order"] and not one["lost"] for one in of)
        came, served = (middle([one[what] for one in of], 1) for what in ("came_s", "served_s"))
        rows.append((name, of[0]["waiters"], "all, in order" if well else "**not all in order**", came, served))
    return table(["", "waiters", "served", "all had come after, s", "all were served after, s"], rows)
