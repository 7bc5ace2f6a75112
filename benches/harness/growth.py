"""How cost grows: with waiters, held keys, the TTL, the key's length, TLS, and the way to the server."""

import os
import time

from . import counts, crowd, figures, hand_over, start
from .contenders import DATE
from .memory import holding, let_go
from .processes import Failed, lives, spawn

DLOCKS = ("dlock file", "dlock redis", "dlock zk")
DELAYED = ("dlock redis", "dlock redis, TLS", "redis-py", "dlock zk", "kazoo", "etcdctl lock")
DELAYS = (0, 1, 10, 50)
TTLS = (1, 10, 30, 300, 3600)
LENGTHS = (1, 16, 64, 256, 512)

# Seconds that holders with different TTLs are watched, all at once.
WATCHED = 30.0


def with_waiters(contenders, crowds):
    """Hand-over time and requests of each backend, and of flock."""
    found = {}
    for waiters in crowds:
        row = {}
        for tool in contenders.named("flock", *DLOCKS):
            gaps = []
            for _ in range(max(1, 20 // waiters)):
                gaps += hand_over.gaps(contenders, tool, waiters)
            row[tool.name] = {"ms": figures.summary(gaps)}
            if tool.server:
                row[tool.name]["requests"] = counts.per_hand_over(contenders, tool, waiters)
        found[str(waiters)] = row
    return found


def with_keys(contenders, sizes, rounds):
    """What one more run and a list of all cost beside so many held keys."""
    return {
        tool.name: crowd.keys(contenders, crowd.place_of(contenders, tool.name), tool.name, sizes, rounds)
        for tool in contenders.named(*DLOCKS)
    }


def with_ttl(contenders, rounds):
    """Requests of a holder, and the whole run of `true`, for TTLs from the shortest on."""
    holders = []
    try:
        for name in ("dlock redis", "dlock zk"):
            if name not in contenders.tools:
                continue
            for ttl in TTLS:
                proxy = counts.proxied(contenders, name)
                tool = counts.by_way_of(contenders, name, proxy)
                words = lambda key, ttl, command, tool=tool: tool.words(f"{key}-{ttl}", ttl, command)
                holders.append(
                    (name, ttl, proxy, holding(contenders, counts.Tool(name, words), contenders.scratch, ttl))
                )
        for _, _, proxy, _ in holders:
            proxy.take()
        time.sleep(WATCHED)
        # A machine that is too busy for a short lease has made its holder give up: that says nothing of requests.
        asked = {(name, ttl): proxy.take()[0] for name, ttl, proxy, (front, _, _) in holders if lives(front)}
    finally:
        for _, _, proxy, (front, _, command) in holders:
            let_go(front, command)
            proxy.close()
    found = {}
    for (name, ttl), requests in asked.items():
        tool = contenders.tools[name]
        words = lambda key, _, command, tool=tool, ttl=ttl: tool.words(key, ttl, command)
        times = start.measure([counts.Tool(name, words)], contenders.environment, rounds, "ttl")[name]
        pings = requests.pop("ping", 0)
        found.setdefault(name, {})[str(ttl)] = {
            "per_minute": round(sum(requests.values()) * 60 / WATCHED, 1),
            "pings_per_minute": round(pings * 60 / WATCHED, 1),
            "run_ms": figures.summary([value / 1e6 for value in times]),
        }
    return found


def with_length(contenders, rounds):
    """The whole run of `true` for keys of so many bytes, interleaved."""
    found = {}
    for tool in contenders.named(*DLOCKS):
        tools = [
            counts.Tool(
                str(length), lambda key, ttl, command, tool=tool, key_of="k" * length: tool.words(key_of, ttl, command)
            )
            for length in LENGTHS
        ]
        times = start.measure(tools, contenders.environment, rounds)
        found[tool.name] = {name: figures.summary([v / 1e6 for v in values]) for name, values in times.items()}
    return found


def with_tls(contenders, rounds):
    """The whole run of `true` with Redis, with and without TLS."""
    tools = contenders.named("dlock redis", "dlock redis, TLS")
    times = start.measure(tools, contenders.environment, rounds)
    found = {name: {"ms": figures.summary([v / 1e6 for v in values])} for name, values in times.items()}
    found["dlock redis, TLS"]["to_plain"] = figures.ratio(times["dlock redis, TLS"], times["dlock redis"])
    return found


def stages(tool, environment, path):
    """Milliseconds from the start to the command, and from the command to the end."""
    stamp = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.time_ns()
    pid = spawn(tool.words("delay", 30, [DATE, "+%s%N"]), environment, stdout=stamp)
    _, status = os.waitpid(pid, 0)
    ended = time.time_ns()
    os.close(stamp)
    if status != 0:
        raise Failed(f"{tool.name}: status {status}")
    with open(path, encoding="ascii") as written:
        ran = int(written.read())
    return (ran - began) / 1e6, (ended - ran) / 1e6


def with_delay(contenders, rounds):
    """Start and release by way of a proxy that holds every byte up, and the round trips that follow from the slope."""
    found = {}
    path = os.path.join(contenders.scratch, "stamp")
    for name in DELAYED:
        if name not in contenders.tools:
            continue
        before, after, row = [], [], {}
        for delay in DELAYS:
            proxy = counts.proxied(contenders, name, delay / 1000)
            try:
                tool = counts.by_way_of(contenders, name, proxy)
                stages(tool, contenders.environment, path)
                seen = [stages(tool, contenders.environment, path) for _ in range(rounds)]
            finally:
                proxy.close()
            starts, releases = (figures.summary(values) for values in zip(*seen))
            row[str(delay)] = {"to_command_ms": starts, "from_command_ms": releases}
            before.append((2 * delay, starts["median"]))
            after.append((2 * delay, releases["median"]))
        found[name] = {
            "delays": row,
            "round_trips_before": round(figures.slope(before)[0], 2),
            "round_trips_after": round(figures.slope(after)[0], 2),
        }
    return found


def run(contenders, crowds, rounds):
    """All but that with the held keys, which is a part by itself."""
    found = {"waiters": with_waiters(contenders, crowds)}
    found |= {"ttl": with_ttl(contenders, rounds), "length": with_length(contenders, rounds)}
    if "dlock redis, TLS" in contenders.tools:
        found["tls"] = with_tls(contenders, rounds)
    return found | {"delay": with_delay(contenders, max(3, rounds // 10))}
