"""System calls of dlock's two processes while nothing happens, between two renewals, counted by strace."""

import os
import shutil
import signal
import subprocess
import time

from .memory import holding, let_go
from .processes import Failed, eventually

NAMES = ("dlock file", "dlock redis", "dlock zk")
WATCHED = 3.0

# Renewed after 20 s, in ZooKeeper after 6 s.
TTL = 60


def counted(pids, path):
    """System calls of these processes within the time that they are watched, by name."""
    words = ["strace", "-f", "-c", "-o", path, *(f"-p{pid}" for pid in pids)]
    told = path + ".log"
    with open(told, "wb") as log:
        tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        attached = lambda: open(told, encoding="utf-8").read().count("attached") >= len(pids)
        eventually("strace watches all of them", lambda: attached() or tracer.poll() is not None, 20)
        if tracer.poll() is not None:
            raise Failed(f"strace: {open(told, encoding='utf-8').read().strip()}")
        time.sleep(WATCHED)
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait()
    calls = {}
    with open(path, encoding="utf-8") as table:
        for line in table:
            words = line.split()
            if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3])
    return calls


def watches_file(pid):
    """Whether it is told of changes of a file, as a holder of a lock file is, from a second after the command's start."""
    directory = f"/proc/{pid}/fd"
    return any(os.readlink(os.path.join(directory, name)) == "anon_inode:inotify" for name in os.listdir(directory))


def run(contenders):
    """Calls by name and for each second; a reason instead where they cannot be counted."""
    if not shutil.which("strace"):
        return {"not_measured": "strace is missing"}
    found = {}
    for tool in contenders.named(*NAMES):
        front, ours, command = holding(contenders, tool, contenders.scratch, TTL)
        try:
            if tool.name == "dlock file":
                eventually("the lock file is watched", lambda ours=ours: any(map(watches_file, ours)))
            calls = counted(ours, os.path.join(contenders.scratch, "calls"))
        finally:
            let_go(front, command)
        found[tool.name] = {"calls": calls, "per_second": round(sum(calls.values()) / WATCHED, 2)}
    return found
