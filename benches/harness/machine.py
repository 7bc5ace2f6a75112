"""On what it was measured: the machine, and the versions of all that took part."""

import os
import platform
import subprocess
from importlib import metadata


def of(path, name):
    """The first value of this name in a file of `name: value` lines."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return "unknown"


def describe():
    """The machine, and how busy it was before anything began."""
    system = "unknown"
    with open("/etc/os-release", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("PRETTY_NAME="):
                system = line.partition("=")[2].strip().strip('"')
    return {
        "processor": of("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(of("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024, 1),
        "kernel": platform.release().partition("-")[0],
        "architecture": platform.machine(),
        "system": system,
        "load_before": round(os.getloadavg()[0], 2),
    }


def first_line(*words):
    """The first line that a program says of itself; nothing where it cannot be run."""
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return (told.stdout + told.stderr).strip().partition("\n")[0]


def package(program):
    """The version of the Debian package that a program is from."""
    path = first_line("sh", "-c", f"dpkg -S $(command -v {program}) 2>/dev/null || dpkg -S /usr/bin/{program}")
    name = path.partition(":")[0]
    return first_line("dpkg-query", "-W", "-f=${Version}", name) if name else ""


def versions(programs, servers):
    """The version of everything that takes part, by name."""
    found = {
        "dlock": first_line(programs["dlock"], "--version").partition(" ")[2],
        "rustc": first_line("rustc", "--version").partition(" ")[2],
        "flock": first_line("flock", "--version").rpartition(" ")[2],
        "etcdctl": first_line("etcdctl", "version").rpartition(" ")[2],
        "setlock": package("setlock"),
        "consul": first_line("consul", "version").rpartition(" ")[2],
        "java": first_line("java", "-version").partition('"')[2].partition('"')[0],
        "python": platform.python_version(),
    }
    for name in ("redis", "python-redis-lock", "kazoo"):
        try:
            found["redis-py" if name == "redis" else name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    for name in ("redis", "zookeeper"):
        if name in servers:
            found[f"{name} server"] = servers[name].version()
    return {name: version for name, version in found.items() if version}
