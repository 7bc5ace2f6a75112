"""Counts, which are the same on every machine: requests, notifications and round trips."""

import os
import time

from .contenders import SH, TRUE, Tool
from .hand_over import Queue
from .memory import holding, let_go
from .processes import Gate, end, eventually, spawn, timed, wait_for
from .proxy import Proxy
from .servers import Monitor

NAMES = ("dlock redis", "redis-py", "python-redis-lock", "dlock zk", "kazoo", "etcdctl lock")

# Seconds that a waiter or holder is watched.
WATCHED = 10.0


def per_hand_over(contenders, tool, waiters):
    """Requests of clients from the first release to the last contender's end, for each hand-over."""
    queue = Queue(contenders, tool, waiters, job=TRUE)
    if tool.server.name == "redis-server":
        monitor = Monitor(tool.server)
        try:
            monitor.begin()
            queue.serve()
            requests, _ = monitor.end()
        finally:
            monitor.close()
    else:
        before = tool.server.requests()
        queue.serve()
        requests = tool.server.requests() - before
    return round(requests / waiters, 3)


def notifications(contenders, waiters):
    """How many ZooKeeper told of something, for each release of a queue: those of the waiters, and the holder's."""
    tool = contenders.tools["dlock zk"]
    queue = Queue(contenders, tool, waiters, job=TRUE)
    before = tool.server.notifications()
    queue.serve()
    return round((tool.server.notifications() - before) / (waiters + 1), 3)


def by_way_of(contenders, name, proxy):
    """The tool of this name with a proxy in the place of its server."""
    address = f"127.0.0.1:{proxy.port}"
    if name == "dlock redis":
        return contenders.dlock(name, ["--redis", f"redis://{address}"])
    if name == "dlock redis, TLS":
        server = contenders.servers["redis"]
        return contenders.dlock(name, ["--redis", f"rediss://{address}", "--tls-ca", server.certificates.pem("ca")])
    if name == "dlock zk":
        return contenders.dlock(name, ["--zk", address])
    if name == "etcdctl lock":
        proxy.address = address
        return contenders.etcdctl(proxy)
    script = {"redis-py": "redis_py.py", "python-redis-lock": "python_redis_lock.py", "kazoo": "kazoo_lock.py"}[name]
    return Tool(name, contenders.python(script, address if name == "kazoo" else str(proxy.port)))


def proxied(contenders, name, delay=0.0):
    """A proxy before the server of the tool of this name; nothing where the tool is missing."""
    if name not in contenders.tools:
        return None
    server = contenders.tools[name].server
    secure = name.endswith("TLS")
    protocol = {"redis-server": "redis", "ZooKeeper": "zookeeper"}.get(server.name)
    return Proxy(server.tls_port if secure else server.port, delay, None if secure else protocol)


def uncontended(contenders, name):
    """Requests by kind and round trips of one run that nobody contends with, the second one of its kind."""
    proxy = proxied(contenders, name)
    try:
        tool = by_way_of(contenders, name, proxy)
        for _ in range(2):
            proxy.take()
            timed(tool.words("alone", 30, [TRUE]), contenders.environment)
        requests, turns = proxy.take()
    finally:
        proxy.close()
    return {"requests": requests, "round_trips": turns}


def while_waiting(contenders, name):
    """Requests of the second waiter in a queue, from one of its looks at the lease on, or from when it waits."""
    # redis-py's lock is not renewed, and has to last.
    ttl = 12 if name.startswith("dlock") else 120
    proxy = proxied(contenders, name)
    tool, ours = contenders.tools[name], by_way_of(contenders, name, proxy)
    gate = Gate(os.path.join(contenders.scratch, "gate"))
    pids = []
    try:
        start = lambda tool, job: pids.append(
            spawn(tool.words("waiting", ttl, [SH, "-c", job]), contenders.environment)
        )
        start(tool, f"read line <{gate.path}; :")
        eventually("it is held", gate.someone_waits)
        for number, one in enumerate((tool, ours)):
            start(one, ":")
            eventually("it waits", lambda number=number: tool.waiting("waiting") > number)
        proxy.take()
        if name == "dlock redis":
            eventually("it looks at the lease", lambda: proxy.counts, ttl)
            proxy.take()
        time.sleep(WATCHED)
        requests, _ = proxy.take()
        gate.open()
        for pid in pids:
            wait_for(pid, name)
        pids = []
    finally:
        end(pids)
        proxy.close()
    pings = requests.pop("ping", 0)
    found = {"requests": sum(requests.values()), "pings": pings, "seconds": WATCHED}
    if name.startswith("dlock"):
        checks = int(WATCHED // (min(ttl, 30) / 3)) if name == "dlock redis" else 0
        found |= {"checks": checks, "beyond_checks": max(0, found["requests"] - checks)}
    return found


def while_holding(contenders, keys, ttl=5):
    """What a holder of so many keys in ZooKeeper asks for in two of its session timeouts, for each tenth of one."""
    proxy = proxied(contenders, "dlock zk")
    place = ["--zk", f"127.0.0.1:{proxy.port}"]
    more = [word for number in range(keys - 1) for word in ("--key", f"beats-{number}")]
    tool = contenders.dlock("dlock zk", [*place, *more])
    front, _, command = holding(contenders, tool, contenders.scratch, ttl)
    try:
        eventually("its heart beats", lambda: any(kind != "ping" for kind in proxy.take()[0]), 2 * ttl)
        time.sleep(2 * ttl)
        requests, _ = proxy.take()
    finally:
        let_go(front, command)
        proxy.close()
    pings = requests.pop("ping", 0)
    return {"requests": requests, "pings": pings, "per_tenth": round(sum(requests.values()) / 20, 3)}


POLLING = ("redis-py", "python-redis-lock")


def run(contenders, crowds, audience):
    """All of them, for queues of these lengths; and who is told of a release among so many."""
    found = {"hand_over": {}, "uncontended": {}, "waiting": {}}
    tools = contenders.named(*NAMES)
    for waiters in crowds:
        # Of those that ask again and again a large crowd takes longer to come together than its holder's lease lasts.
        patient = [tool for tool in tools if waiters <= 10 or tool.name not in POLLING]
        found["hand_over"][str(waiters)] = {tool.name: per_hand_over(contenders, tool, waiters) for tool in patient}
    for tool in tools:
        if tool.name != "etcdctl lock":
            found["uncontended"][tool.name] = uncontended(contenders, tool.name)
            found["waiting"][tool.name] = while_waiting(contenders, tool.name)
    if "dlock zk" in contenders.tools:
        found["notifications"] = {"waiters": audience, "per_release": notifications(contenders, audience)}
        found["holding"] = {str(keys): while_holding(contenders, keys) for keys in (1, 8)}
    return found
