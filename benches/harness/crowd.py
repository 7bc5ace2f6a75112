"""Many waiters on one key, and many keys that are held: that nothing is lost, and what it costs."""

import os
import signal
import subprocess
import time

from . import figures, start
from .contenders import SH
from .processes import Failed, Gate, end, eventually, spawn, wait_for

NAMES = ("dlock file", "dlock redis", "dlock zk")

# As many as one run can hold.
AT_ONCE = 64


def in_order(contenders, tool, waiters):
    """Each comes when the one before it stands in the queue; seconds until all have come, and until all were served."""
    path = os.path.join(contenders.scratch, "turns")
    turns = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    gate = Gate(os.path.join(contenders.scratch, "gate"))
    words = lambda job: tool.words("crowd", 60, [SH, "-c", job])
    pids = []
    try:
        began = time.monotonic()
        pids.append(spawn(words(f"read line <{gate.path}; echo 0"), contenders.environment, stdout=turns))
        eventually("the first one holds", gate.someone_waits)
        for number in range(1, waiters + 1):
            pids.append(spawn(words(f"echo {number}"), contenders.environment, stdout=turns))
            eventually(f"number {number} waits", lambda number=number: tool.waiting("crowd") >= number, every=0.002)
        came = time.monotonic()
        gate.open()
        while pids:
            wait_for(pids[0], "a waiter")
            pids.pop(0)
        served = time.monotonic()
    finally:
        end(pids)
        os.close(turns)
    with open(path, encoding="ascii") as written:
        order = [int(word) for word in written.read().split()]
    return {
        "waiters": waiters,
        "came_s": round(came - began, 2),
        "served_s": round(served - came, 2),
        "in_order": order == list(range(waiters + 1)),
        "lost": waiters + 1 - len(set(order)),
    }


class Held:
    """Keys that are held by runs of up to 64 of them, and can become more."""

    def __init__(self, contenders, place):
        self.contenders, self.place, self.runs, self.keys = contenders, place, [], 0

    def fill(self, keys):
        """Until so many are held."""
        while self.keys < keys:
            some = [f"held-{number}" for number in range(self.keys, min(keys, self.keys + AT_ONCE))]
            options = [word for key in some for word in ("--key", key)]
            words = [self.contenders.programs["dlock"], "run", *self.place, *options, "--ttl", "1h", "--"]
            run = subprocess.Popen(
                [*words, SH, "-c", "echo; exec sleep 100000"],
                env=self.contenders.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            self.runs.append(run)
            if not run.stdout.readline():
                raise Failed(f"keys from {self.keys} on could not be held")
            self.keys += len(some)

    def let_go(self):
        """Ends the commands, and waits until the keys are free."""
        for run in self.runs:
            run.send_signal(signal.SIGTERM)
        for run in self.runs:
            run.wait()
            run.stdout.close()


def listed(contenders, place, expected):
    """Milliseconds of a list of all keys, which has to name them all."""
    words = [contenders.programs["dlock"], "list", *place, "--json"]
    began = time.perf_counter_ns()
    said = subprocess.run(words, env=contenders.environment, stdout=subprocess.PIPE, check=True).stdout
    took = (time.perf_counter_ns() - began) / 1e6
    if said.count(b'"key":"held-') != expected:
        raise Failed(f"{said.count(b'held-')} of {expected} keys are listed")
    return took


def keys(contenders, place, name, sizes, rounds):
    """For each number of held keys: what one more run costs beside them, and a list of them."""
    held, found = Held(contenders, place), {}
    try:
        for size in sizes:
            began = time.monotonic()
            held.fill(size)
            filled = time.monotonic() - began
            lists = [listed(contenders, place, size) for _ in range(max(3, rounds // 10))]
            runs = start.measure([contenders.tools[name]], contenders.environment, rounds, "one-more")[name]
            found[str(size)] = {
                "filled_s": round(filled, 2),
                "list_ms": figures.summary(lists),
                "run_ms": figures.summary([value / 1e6 for value in runs]),
            }
    finally:
        held.let_go()
    return found


def place_of(contenders, name):
    """The options that say where a dlock of this name locks, and nobody else."""
    if name == "dlock file":
        directory = os.path.join(contenders.scratch, "keys")
        os.makedirs(directory, exist_ok=True)
        return ["--dir", directory]
    server = contenders.tools[name].server
    return ["--redis", server.url] if name == "dlock redis" else ["--zk", server.address]


def run(contenders, waiters):
    """A long queue of each backend."""
    return {tool.name: in_order(contenders, tool, waiters) for tool in contenders.named(*NAMES)}
