"""Starts processes as cheaply as they can be started, and looks at them in /proc."""

import os
import signal
import time

PROBE = 0.01


class Failed(Exception):
    """Something did not do what it has to do for a measurement to mean anything."""


def eventually(what, condition, seconds=120.0, every=PROBE):
    """Waits until the condition holds, and returns what it returned; a measurement never begins by the clock alone."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"in {seconds:.0f} s it has not come about: {what}")
        time.sleep(every)


def lives(pid):
    """Whether a child of ours still runs; one that has ended can still be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def has_to_live(pid, what):
    """Fails when a child of ours has ended."""
    if not lives(pid):
        raise Failed(f"{what} ended early")
    return True


def spawn(words, environment, stdout=None, stderr=None, stdin=None):
    """Starts a program given by its path; descriptors that are given replace the inherited ones."""
    actions = [
        (os.POSIX_SPAWN_DUP2, ours, theirs)
        for theirs, ours in ((0, stdin), (1, stdout), (2, stderr))
        if ours is not None
    ]
    return os.posix_spawn(words[0], words, environment, file_actions=actions)


def timed(words, environment, stdout=None):
    """Nanoseconds from before the start to after the end of a process that has to succeed."""
    began = time.perf_counter_ns()
    pid = spawn(words, environment, stdout=stdout)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter_ns() - began
    if status != 0:
        raise Failed(f"{' '.join(words)}: status {status}")
    return took


def wait_for(pid, what):
    """Waits for the end of a child that has to succeed."""
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise Failed(f"{what}: status {status}")


def end(pids):
    """Ends children of ours that are still there, after a failure."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def children(pid):
    """The children of all of a process's threads."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as listed:
                found += map(int, listed.read().split())
    except FileNotFoundError:
        pass
    return found


def tree(pid):
    """A process and all that descends from it."""
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def name_of(pid):
    """The name that the kernel has for a process; nothing when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
            return comm.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def sleeps(pid):
    """Whether none of a process's threads runs or is about to; one that is gone sleeps, too."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as stat:
                if stat.read().rpartition(") ")[2][0] in "RD":
                    return False
    except (FileNotFoundError, ProcessLookupError):
        pass
    return True


def settled(pids, times=10, seconds=10.0):
    """Waits until all of them are seen asleep so many times in a row; those that poll are given up after a while."""
    seen = 0
    until = time.monotonic() + seconds
    while seen < times and time.monotonic() < until:
        seen = seen + 1 if all(map(sleeps, pids)) else 0
        time.sleep(PROBE)
    return seen >= times


def memory(pid):
    """RSS and PSS of a process, in kilobytes."""
    sizes = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            name, _, value = line.partition(":")
            if name in ("Rss", "Pss"):
                sizes[name] = int(value.split()[0])
    return sizes["Rss"], sizes["Pss"]


class Gate:
    """A fifo at which a job waits until it is let go; that it waits there can be seen from outside."""

    def __init__(self, path):
        self.path = path
        self.writer = None
        if os.path.exists(path):
            os.unlink(path)
        os.mkfifo(path)

    def someone_waits(self):
        """Whether a job has opened it."""
        try:
            self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    def open(self):
        """Lets the job go."""
        os.close(self.writer)
        os.unlink(self.path)
