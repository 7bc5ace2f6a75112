"""Runs the parts that are asked for, writes what was measured, and says which targets were held."""

import argparse
import contextlib
import datetime
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time

from . import counts, crowd, growth, hand_over, machine, memory, plots, report, size, start, system_calls, targets
from .contenders import Contenders
from .processes import Failed
from .servers import Certificates, Consul, Etcd, Redis, ZooKeeper

PARTS = ("start", "hand_over", "memory", "counts", "system_calls", "crowd", "keys", "growth", "size")

# No target depends on them, and they take long: in the first run alone.
ONCE = ("growth",)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="benches/run.sh", description="Measures dlock beside its peers.")
    parser.add_argument("--quick", action="store_true", help="few rounds of each part, and no verdict by the status")
    parser.add_argument(
        "--full", action="store_true", help="1,000 waiters, 10,000 keys and a build from nothing as well"
    )
    parser.add_argument("--runs", type=int, help="so many times over [3; with --quick 1]")
    parser.add_argument("--rounds", type=int, help="of each start [400; with --quick 40]")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--output", help="directory for what was measured [benches/results; with --quick or --only below target]"
    )
    for name in ("root", "home", "dlock", "python", "target"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--zookeeper-peer", help=argparse.SUPPRESS)
    parser.add_argument("--missing", action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


def served(scratch):
    """The servers of all programs that are installed."""
    servers = {}

    def directory(name):
        path = os.path.join(scratch, name)
        os.makedirs(path)
        return path

    try:
        certificates = Certificates(directory("certificates"))
        servers["redis"] = Redis(directory("redis"), certificates)
        servers["redis"].certificates = certificates
        servers["zookeeper"] = ZooKeeper(directory("zookeeper"))
        if shutil.which("etcd") and shutil.which("etcdctl"):
            servers["etcd"] = Etcd(directory("etcd"))
        if shutil.which("consul"):
            servers["consul"] = Consul(directory("consul"))
    except BaseException:
        stop(servers)
        raise
    return servers


def stop(servers):
    """Ends them."""
    for server in servers.values():
        server.stop()


@contextlib.contextmanager
def quiet(path):
    """What the tools say on standard error goes to a file, and is shown when something has failed."""
    ours = os.dup(2)
    with open(path, "w+", encoding="utf-8", errors="replace") as said, os.fdopen(ours, "w") as stderr:
        os.dup2(said.fileno(), 2)
        sys.stderr = stderr
        try:
            yield
        except Failed:
            said.seek(0)
            stderr.write("\n" + "".join(said.readlines()[-10:]))
            raise
        finally:
            stderr.flush()
            os.dup2(ours, 2)
            sys.stderr = sys.__stderr__


def one_run(options, contenders, parts):
    """All parts once."""
    quick, full = options.quick, options.full
    rounds = options.rounds or (40 if quick else 400)
    sizes = (1, 100) if quick else (1, 100, 1000, 10000) if full else (1, 100, 1000)
    crowds = (1, 10) if quick else (1, 10, 100, 1000) if full else (1, 10, 100)
    measure = {
        "start": lambda: start.run(contenders, rounds),
        "hand_over": lambda: hand_over.run(contenders, (2, 5) if quick else (2, 20, 100), 10 if quick else 400),
        "memory": lambda: memory.run(contenders),
        "counts": lambda: counts.run(contenders, (2, 5) if quick else (2, 10, 50, 100), 20 if quick else 200),
        "system_calls": lambda: system_calls.run(contenders),
        "crowd": lambda: crowd.run(contenders, 20 if quick else 1000 if full else 200),
        "keys": lambda: growth.with_keys(contenders, sizes, max(5, rounds // 8)),
        "growth": lambda: growth.run(contenders, crowds, max(5, rounds // 8)),
    }
    found = {}
    for part in parts:
        if part not in measure:
            continue
        began = time.monotonic()
        print(f"  {part} …", end="", flush=True, file=sys.stderr)
        found[part] = measure[part]()
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def save(result, output):
    """Writes what has been measured so far, and says where."""
    path = os.path.join(output, "latest.json")
    with open(path, "w", encoding="utf-8") as text:
        json.dump(result, text, indent=1, ensure_ascii=False)
        text.write("\n")
    return path


def main():
    """The whole of it."""
    options = arguments()
    # As an interrupt does: whatever was started is ended.
    logging.disable()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = [part for part in PARTS if not options.only or part in options.only]
    programs = {"dlock": options.dlock, "python": options.python}
    if options.zookeeper_peer:
        programs["zookeeper-peer"] = options.zookeeper_peer
    kept = not (options.quick or options.only)
    output = options.output or os.path.join(options.root, "benches", "results" if kept else "../target/benches/results")
    output = os.path.normpath(output)
    os.makedirs(output, exist_ok=True)
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine.describe(),
        "options": {"full": options.full, "rounds": options.rounds or (40 if options.quick else 400)},
    }
    with tempfile.TemporaryDirectory(prefix="dlock-bench-") as scratch, quiet(os.path.join(scratch, "said")):
        servers, contenders = served(scratch), None
        try:
            contenders = Contenders(programs, scratch, servers)
            contenders.missing |= dict(one.split("=", 1) for one in options.missing)
            result["versions"] = machine.versions(programs, servers)
            result["not_measured"] = contenders.missing
            result["runs"] = []
            for number in range(options.runs or (1 if options.quick else 3)):
                print(f"run {number + 1}", file=sys.stderr)
                asked = [part for part in parts if number == 0 or part not in ONCE]
                result["runs"].append(one_run(options, contenders, asked))
                # What an interrupt leaves of a long evening.
                save(result, output)
        finally:
            if contenders:
                contenders.close()
            stop(servers)
    if "size" in parts:
        result["size"] = size.run(options.dlock, options.target, options.home, options.full)
    path = save(result, output)
    plots.draw(result, output)
    print(report.terminal(result))
    if kept:
        report.write(options.root, result)
    print(f"\n{path}, and what it looks like beside it")
    missed = [target for target, _, verdict in targets.verdicts(result["runs"]) if verdict == "missed"]
    return 1 if missed and not options.quick else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"benches/run.sh: {failure}")
