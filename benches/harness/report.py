"""Tables of what was measured: for the terminal, README.md and docs/benchmarks.md.

python3 -m harness.report readme     prints that section of the committed results, docs the other one
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from . import growth_tables, size_tables, tables, targets
from .cells import across

PLACES = {"readme": "README.md", "docs": os.path.join("docs", "benchmarks.md")}

BEGIN = "<!-- benches: begin; written by benches/run.sh, not by hand -->"

END = "<!-- benches: end -->"

READING = (
    "Median of the runs, each run's own statistic being a median; in parentheses the least and the most of the runs, "
    "in brackets the tenth and the ninetieth percentile within a run."
)


@dataclass(frozen=True)
class Section:
    """A part of the long account."""

    title: str
    # What has to have been measured for it.
    parts: tuple
    table: Callable
    about: str


SECTIONS = (
    Section(
        "Targets",
        (),
        tables.verdict,
        "Each has to hold in every run.",
    ),
    Section(
        "Start and end",
        ("start",),
        tables.starts,
        (
            "`TOOL … true`, from before the start of the process to after its end, all tools one after the "
            "other in each round. `zookeeper-peer` is a program on dlock's ZooKeeper crate that connects, "
            "creates, lists, starts the command and closes."
        ),
    ),
    Section(
        "Gap between jobs",
        ("hand_over",),
        tables.gaps,
        (
            "All contenders wait before the first job ends; each then runs a shell with two `date +%s%N` once. "
            "The gap is from the last of one job to the first of the next one, so that it holds the release, "
            "the wake-up and the start of a shell."
        ),
    ),
    Section(
        "Memory while holding",
        ("memory",),
        tables.memories,
        "All processes of a tool, the command not among them; the most of five samples.",
    ),
    Section(
        "Requests per hand-over",
        ("counts",),
        tables.requests,
        (
            "What clients send from the first release to the last contender's end, divided by the hand-overs; "
            "in Redis counted by `MONITOR`, commands inside scripts not among them; in ZooKeeper all packets, "
            "pings and the ends of sessions among them; in etcd all messages of its clients."
        ),
    ),
    Section(
        "Requests of one run",
        ("counts",),
        tables.paths,
        "Counted by a proxy. The waiter is the second one in the queue.",
    ),
    Section(
        "While nothing happens",
        ("counts", "system_calls"),
        tables.told,
        "System calls are counted by strace for three seconds between two renewals.",
    ),
    Section(
        "A long queue",
        ("crowd",),
        tables.long_queues,
        "Each waiter comes when the one before it stands in the queue.",
    ),
    Section(
        "Growth with waiters",
        ("growth",),
        growth_tables.growth_of_waiters,
        (
            "A release wakes one waiter, whoever else waits, so that neither curve follows the queue; what a "
            "long queue adds are the looks of its waiters at the lease and the pings of their sessions, and "
            "what the machine takes to run so many processes."
        ),
    ),
    Section(
        "Growth with held keys",
        ("keys",),
        growth_tables.growth_of_keys,
        (
            "One more run looks at nothing but its own key, so that it costs the same beside any number of "
            "others; a list reads them all and grows with them."
        ),
    ),
    Section(
        "Growth with the TTL",
        ("growth",),
        growth_tables.growth_of_ttl,
        (
            "A holder in Redis renews every third of its TTL, one in ZooKeeper has a request committed every "
            "tenth: their cost falls as the TTL rises, and none of it is paid at the start. The holders were "
            "watched for 30 s: 0 means less than 2 per minute."
        ),
    ),
    Section(
        "Growth with the key",
        ("growth",),
        growth_tables.growth_of_length,
        (
            "A key is sent and stored as it is, or as its first bytes and a digest when it is long: a few "
            "hundred bytes more in a packet that is sent anyway."
        ),
    ),
    Section(
        "TLS",
        ("growth",),
        growth_tables.growth_of_tls,
        (
            "TLS costs reading the authority's certificate, one round trip more, and a key exchange with a "
            "signature on both sides."
        ),
    ),
    Section(
        "Growth with the way",
        ("growth",),
        growth_tables.growth_of_delay,
        (
            "Each way holds every byte up for so long, and the first one until a connection could have stood. "
            "The slope over the time there and back is the number of round trips, that of the connection among "
            "them: over a network nothing else is worth counting."
        ),
    ),
    Section(
        "Size",
        ("size",),
        lambda result: size_tables.program(result) + size_tables.code(result),
        "Code by crate is from the symbols of a build that kept them.",
    ),
)


def measured(result, parts):
    """Whether all of these parts were."""
    return all(part in result or across(result["runs"], part) for part in parts)


def sections(result):
    """The long account."""
    parts = [tables.circumstances(result), READING]
    for one in SECTIONS:
        if measured(result, one.parts):
            parts += [f"## {one.title}", one.about, one.table(result)]
    return "\n\n".join(parts)


def readme(result):
    """The short account."""
    missed = [said for _, _, said in targets.verdicts(result["runs"])]
    held = f"{missed.count('held')} of {len(missed)} targets were held"
    if missed.count("missed"):
        held += f", {missed.count('missed')} missed"
    if missed.count("not measured"):
        held += f", {missed.count('not measured')} not measured"
    plots = "![whole process](benches/results/start.svg) ![gap between jobs](benches/results/gap.svg)"
    more = f"{held}: [docs/benchmarks.md](docs/benchmarks.md) has them, with growth, counts and size."
    return "\n\n".join([tables.overview(result), tables.circumstances(result), READING, more, plots])


RENDER = {"readme": readme, "docs": sections}


def within(text, section):
    """The text with the part between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"


def write(root, result):
    """Puts both accounts where they belong."""
    for name, path in PLACES.items():
        path = os.path.join(root, path)
        with open(path, encoding="utf-8") as page:
            text = page.read()
        if BEGIN not in text or END not in text:
            sys.exit(f"benches/run.sh: {path} has no place for the results: {BEGIN}")
        with open(path, "w", encoding="utf-8") as page:
            page.write(within(text, RENDER[name](result)))


def terminal(result):
    """Both tables that one wants to see at once."""
    shown = [tables.overview(result)] if across(result["runs"], "start") else []
    return "\n\n".join([*shown, tables.verdict(result), tables.circumstances(result)])


def main():
    """Prints a section of the results in the directory that is the project's."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "benches", "results", "latest.json"), encoding="utf-8") as text:
        result = json.load(text)
    if sys.argv[1:] == ["write"]:
        write(root, result)
    elif len(sys.argv) == 2 and sys.argv[1] in RENDER:
        print(RENDER[sys.argv[1]](result))
    else:
        sys.exit(f"usage: report ({'|'.join(RENDER)}|write)")


if __name__ == "__main__":
    main()
