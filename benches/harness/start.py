"""What a lock costs as a whole process: from before the start of the tool to after its end, with `true` under it."""

import gc
import statistics

from . import figures
from .contenders import TRUE, TTL
from .processes import timed

WARM = 10


def measure(tools, environment, rounds, key="start"):
    """Nanoseconds of each tool, one after the other in each round, so that what the machine does falls on all alike."""
    for tool in tools:
        for _ in range(WARM if tool.pace == 1 else 2):
            timed(tool.words(key, TTL, [TRUE]), environment)
    times = {tool.name: [] for tool in tools}
    words = {tool.name: tool.words(key, TTL, [TRUE]) for tool in tools}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            for tool in tools:
                if number % tool.pace == 0:
                    times[tool.name].append(timed(words[tool.name], environment))
    finally:
        gc.enable()
    return times


def run(contenders, rounds):
    """Milliseconds and ratios of every tool that there is."""
    names = ["true", "flock", "setlock", "dlock file", "dlock redis", "redis-py", "python-redis-lock"]
    names += ["zookeeper-peer", "dlock zk", "kazoo", "etcdctl lock", "consul lock"]
    times = measure(contenders.named(*names), contenders.environment, rounds)
    found = {}
    for name, values in times.items():
        found[name] = {"ms": figures.summary([value / 1e6 for value in values])}
        found[name]["to_flock"] = figures.ratio(values, times["flock"])
    if "zookeeper-peer" in times:
        found["dlock zk"]["to_peer"] = figures.ratio(times["dlock zk"], times["zookeeper-peer"])
    if "etcdctl lock" in times:
        ours = statistics.median(times["dlock redis"])
        found["dlock redis"]["etcdctl_to_it"] = round(statistics.median(times["etcdctl lock"]) / ours, 3)
    return found
