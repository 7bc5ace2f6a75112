"""Resident memory of a tool's processes while a command runs under the lock; the command is not counted."""

import contextlib
import os
import signal

from .contenders import SH, SLEEP
from .processes import end, eventually, has_to_live, memory, name_of, settled, spawn, tree

NAMES = ("flock", "dlock file", "dlock redis", "dlock zk", "etcdctl lock", "redis-py", "python-redis-lock", "kazoo")
SAMPLES = 5


def holding(contenders, tool, directory, ttl):
    """Starts a command that sleeps under the lock; returns the tool's processes once they have nothing left to do."""
    mark = os.path.join(directory, "started")
    if os.path.exists(mark):
        os.unlink(mark)
    command = [SH, "-c", f"echo >{mark}; exec {SLEEP} 1000"]
    null = os.open(os.devnull, os.O_RDWR)
    front = spawn(tool.words("memory", ttl, command), contenders.environment, null, null, null)
    os.close(null)
    try:
        eventually("a command runs", lambda: has_to_live(front, tool.name) and os.path.exists(mark))
        ours = lambda: [pid for pid in tree(front) if name_of(pid) != "sleep"]
        everything = lambda: [pid for pid in tree(front) if name_of(pid) == "sleep"]
        eventually("the command sleeps", everything)
        settled(ours(), times=100)
        return front, ours(), everything()
    except BaseException:
        end([front])
        raise


def let_go(front, command):
    """Ends the command, and waits for the tool; with what status it ends is its own business."""
    for pid in command:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    os.waitpid(front, 0)


def run(contenders):
    """Kilobytes of all processes of each tool: the largest of several samples within several renewals."""
    found = {}
    for tool in contenders.named(*NAMES):
        front, ours, command = holding(contenders, tool, contenders.scratch, 3)
        try:
            seen = []
            for _ in range(SAMPLES):
                settled(ours, times=30)
                sizes = [memory(pid) for pid in ours]
                seen.append((sum(rss for rss, _ in sizes), sum(pss for _, pss in sizes)))
        finally:
            let_go(front, command)
        found[tool.name] = {
            "processes": len(ours),
            "rss_kb": max(rss for rss, _ in seen),
            "pss_kb": max(pss for _, pss in seen),
        }
    return found
