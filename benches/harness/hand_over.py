"""The gap between two jobs: from the end of one to the start of the next, when all contenders waited from the start."""

import os

from . import figures
from .contenders import SH, TTL
from .processes import Failed, Gate, end, eventually, has_to_live, settled, spawn, tree, wait_for

# Contenders that start at the same time.
GROUP = 20

JOB = "date +%s%N; date +%s%N"
NAMES = ("flock", "dlock file", "dlock redis", "redis-py", "python-redis-lock", "dlock zk", "kazoo", "etcdctl lock")


class Queue:
    """A holder at a gate, and contenders that all wait behind it."""

    def __init__(self, contenders, tool, waiters, job=JOB, ttl=TTL, key="gap"):
        self.tool, self.pids = tool, []
        self.path = os.path.join(contenders.scratch, "stamps")
        self.stamps = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self.gate = Gate(os.path.join(contenders.scratch, "gate"))
        first = f"read line <{self.gate.path}; {job}"
        environment = contenders.environment
        try:
            self.pids.append(spawn(tool.words(key, ttl, [SH, "-c", first]), environment, stdout=self.stamps))
            self.comes_to("the first holds", self.gate.someone_waits)
            for number in range(1, waiters + 1):
                self.pids.append(spawn(tool.words(key, ttl, [SH, "-c", job]), environment, stdout=self.stamps))
                # In small groups: who comes is no part of what is measured, and a hundred starts at once take long.
                if number % GROUP == 0 or number == waiters:
                    self.comes_to(f"{number} wait", lambda number=number: tool.waiting(key) >= number)
            settled([process for pid in self.pids for process in tree(pid)])
        except BaseException:
            end(self.pids)
            raise

    def comes_to(self, what, condition):
        """Waits for the condition; a larger crowd is asked for less often, so that it gets on."""
        alive = lambda: all(has_to_live(pid, f"a contender of {self.tool.name}") for pid in self.pids)
        every = 0.02 * len(self.pids) ** 0.5
        eventually(f"{self.tool.name}: {what}", lambda: alive() and condition(), 600, every)

    def serve(self):
        """Lets the holder go, waits until everybody has had a turn, and returns what the jobs wrote."""
        self.gate.open()
        try:
            while self.pids:
                wait_for(self.pids[0], f"a contender of {self.tool.name}")
                self.pids.pop(0)
        except BaseException:
            end(self.pids[1:])
            raise
        os.close(self.stamps)
        with open(self.path, encoding="ascii") as stamps:
            return stamps.read().split()


def gaps(contenders, tool, waiters):
    """Milliseconds between the jobs, in their order; fails when two ran at once or one is missing."""
    words = [int(word) for word in Queue(contenders, tool, waiters).serve()]
    if len(words) != 2 * (waiters + 1):
        raise Failed(f"{waiters + 1} jobs under {tool.name} have written {len(words)} times")
    if words != sorted(words):
        raise Failed(f"two jobs under {tool.name} ran at once")
    return [(words[number + 1] - words[number]) / 1e6 for number in range(1, len(words) - 1, 2)]


def run(contenders, crowds, hand_overs):
    """For each number of contenders as many hand-overs of each tool, trial by trial, tool by tool."""
    tools = contenders.named(*NAMES)
    found = {}
    for waiters in crowds:
        seen = {tool.name: [] for tool in tools}
        for _ in range(max(2, min(20, hand_overs // waiters))):
            for tool in tools:
                if tool.pace == 1 or len(seen[tool.name]) < max(waiters, min(10, hand_overs // 4)):
                    seen[tool.name] += gaps(contenders, tool, waiters)
        found[str(waiters)] = {
            name: {"ms": figures.summary(values), "to_flock": figures.ratio(values, seen["flock"], 300)}
            for name, values in seen.items()
        }
        base = found[str(waiters)]["flock"]["ms"]
        for figures_of in found[str(waiters)].values():
            figures_of["p95_to_flock"] = round(figures_of["ms"]["p95"] / base["p95"], 4)
    return found
