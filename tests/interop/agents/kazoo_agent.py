"""kazoo behind the line protocol of tests/interop/zookeeper_driver.py."""

import sys
import time

from kazoo.client import KazooClient
from kazoo.recipe.lock import Lock, ReadLock, WriteLock

library, hosts = sys.argv[1:]
client = KazooClient(hosts=hosts, timeout=6)
client.start()


class LockWithPatterns(Lock):
    """A Lock that sees whoever has "lock-" in its name, and is seen by nobody who looks for that."""

    def __init__(self, client, path):
        super().__init__(client, path, extra_lock_patterns=["lock-"])


class LockWithCuratorsNames(LockWithPatterns):
    """A Lock whose own nodes are seen by those who look for "lock-", and that sees theirs."""

    _NODE_NAME = "-lock-"


def lock(mode, path):
    if library == "kazoo-rw":
        return (ReadLock if mode == "read" else WriteLock)(client, path)
    kinds = {"kazoo": Lock, "kazoo-patterns": LockWithPatterns, "kazoo-lock-names": LockWithCuratorsNames}
    return kinds[library](client, path)


def contend(mode, path, file, seconds):
    count, until = 0, time.monotonic() + seconds
    # One object for all the time, as an application would have it.
    ours = lock(mode, path)
    while time.monotonic() < until:
        if not ours.acquire():
            continue
        with open(file, "a", buffering=1) as marks:
            marks.write(f"enter {mode} library\n")
            time.sleep(0.003)
            marks.write(f"leave {mode} library\n")
        ours.release()
        count += 1
    return count


held = {}
print("ready", flush=True)
for line in sys.stdin:
    verb, mode, path, *rest = line.split()
    answer = "yes"
    if verb in ("lock", "try"):
        held[path] = lock(mode, path)
        if not held[path].acquire(blocking=verb == "lock"):
            answer = "no"
    elif verb == "unlock":
        held.pop(path).release()
    else:
        answer = str(contend(mode, path, rest[0], float(rest[1])))
    print(answer, flush=True)
client.stop()
