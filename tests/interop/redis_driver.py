"""Holds and awaits each lock from both sides: dlock on the one, the real library on the other.

Every agent reads lines and answers each with one:
  lock KEY TTL_MS                 takes the lock, however long that takes: yes
  try KEY TTL_MS                  yes, or no when it is held; a TTL of 0 is the library's default
  unlock KEY                      yes, or lost when it was not its own any more
  contend KEY TTL_MS FILE SECONDS locks and unlocks all the time, marks each in FILE, says how often
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time

from agent import HANGS, Agent, fresh, judge, mark, never_hang, read, said_by, tell, the_document_names

DLOCK, URL, HOME, DOCS = sys.argv[1:5]
SECONDS = float(os.environ.get("DLOCK_INTEROP_SECONDS", "8"))
# What a library that polls takes at most to look again (redsync: 250 ms), on a busy machine.
SOON = 2.0
# A wake-up that was missed would take as long as the lease, 30 s.
AT_ONCE = 1.0


class Pair:
    def __init__(self, library, layout, agent, version, woken, endless):
        self.library, self.layout, self.agent, self.version = library, layout, agent, version
        # Whether a release wakes the library's waiters, and whether a TTL of 0 means no expiry at all.
        self.woken, self.endless = woken, endless
        self.key = "interop:" + library
        self.figures = {}

    def start(self):
        return Agent(self.agent)


def environment(pair):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DLOCK_")}
    return kept | {"DLOCK_REDIS": URL, "DLOCK_NAMESPACE": "", "DLOCK_LAYOUT": pair.layout}


def start(pair, *args):
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen([DLOCK, *args], env=environment(pair), text=True, **streams)


def dlock(pair, status, *args):
    done = subprocess.run([DLOCK, *args], env=environment(pair), capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == status, f"dlock {' '.join(args)}: {done.returncode}, not {status}: {done.stderr}"
    return done.stdout.strip()


def state(pair):
    return json.loads(dlock(pair, 0, "status", "--json", pair.key))[0]


def marks(pair, name):
    return fresh(HOME, f"{pair.library}-{name}")


def dlock_is_refused_while_the_library_holds(pair, agent):
    agent.expect("yes", "lock", pair.key, 30000)
    dlock(pair, 75, "run", "-n", "-k", pair.key, "--", "true")
    dlock(pair, 75, "run", "-w", "300ms", "-k", pair.key, "--", "true")
    shown = state(pair)
    assert shown["state"] == "held" and shown["holders"][0]["phase"] == "foreign", shown
    assert 0 < shown["holders"][0]["remaining_ms"] <= 30000, shown
    agent.expect("yes", "unlock", pair.key)
    assert state(pair)["state"] == "free", state(pair)


def dlock_waits_and_gets_in_after_the_library_let_go(pair, agent):
    path = marks(pair, "order")
    agent.expect("yes", "lock", pair.key, 30000)
    waiter = start(pair, "run", "-w", "20", "-k", pair.key, "--", "sh", "-c", f"echo in >>'{path}'")
    said = said_by(waiter.stderr)
    assert "waiting" in said, said
    mark(path, "releasing")
    agent.expect("yes", "unlock", pair.key)
    began = time.monotonic()
    _, errors = waiter.communicate(timeout=HANGS)
    pair.figures["dlock"] = took = time.monotonic() - began
    assert waiter.returncode == 0, errors
    assert read(path) == ["releasing", "in"], read(path)
    assert took < SOON, f"it took {took:.3f} s"


def the_library_is_refused_waits_and_gets_in_after_dlock_let_go(pair, agent):
    holder = start(pair, "run", "-k", pair.key, "--", "sh", "-c", "echo in; read -r line; exit 0")
    assert said_by(holder.stdout) == "in\n", holder.stderr.read()
    agent.expect("no", "try", pair.key, 30000)
    agent.send("lock", pair.key, 30000)
    early = agent.answer(within=0.7)
    assert early is None, f"the library answers {early!r} while dlock holds"
    began = time.monotonic()
    holder.communicate("\n", timeout=HANGS)
    assert holder.returncode == 0
    answer = agent.answer(within=10)
    pair.figures["library"] = took = time.monotonic() - began
    assert answer == "yes", f"the library answers {answer!r}"
    limit = AT_ONCE if pair.woken else SOON
    assert took < limit, f"it took {took:.3f} s, more than {limit} s"
    agent.expect("yes", "unlock", pair.key)


def the_library_does_not_release_what_passed_to_dlock(pair, agent):
    agent.expect("yes", "lock", pair.key, 1000)
    began = time.monotonic()
    token = dlock(pair, 0, "acquire", "-w", "20", "-k", pair.key, "--ttl", "30s")
    took = time.monotonic() - began
    assert 0.5 < took < 1 + SOON, f"dlock got in after {took:.3f} s of a lease of 1 s"
    agent.expect("lost", "unlock", pair.key)
    dlock(pair, 0, "renew", "-k", pair.key, "--token", token)
    dlock(pair, 0, "release", "-k", pair.key, "--token", token)


def dlock_does_not_release_what_passed_to_the_library(pair, agent):
    token = dlock(pair, 0, "acquire", "-n", "-k", pair.key, "--ttl", "1s")
    began = time.monotonic()
    while True:
        agent.send("try", pair.key, 30000)
        answer = agent.answer()
        took = time.monotonic() - began
        if answer == "yes":
            break
        assert answer == "no" and took < 10, f"the library answers {answer!r} after {took:.1f} s"
        time.sleep(0.05)
    assert took > 0.5, f"the library got in after {took:.3f} s of a lease of 1 s"
    dlock(pair, 79, "renew", "-k", pair.key, "--token", token, "--ttl", "30s")
    dlock(pair, 79, "release", "-k", pair.key, "--token", token)
    dlock(pair, 75, "run", "-n", "-k", pair.key, "--", "true")
    agent.expect("yes", "unlock", pair.key)


def a_lock_of_the_librarys_default_length_is_waited_for(pair, agent):
    agent.expect("yes", "lock", pair.key, 0)
    left = state(pair)["holders"][0]["remaining_ms"]
    assert (left is None) if pair.endless else 0 < left <= 30000, left
    dlock(pair, 75, "run", "-w", "1", "-k", pair.key, "--", "true")
    agent.expect("yes", "unlock", pair.key)
    dlock(pair, 0, "run", "-n", "-k", pair.key, "--", "true")


def both_contend_and_never_hold_at_once(pair, agent):
    path = marks(pair, "contention")
    second = pair.start()
    until = time.monotonic() + SECONDS
    script = f"echo enter dlock >>'{path}'; sleep 0.003; echo leave dlock >>'{path}'"

    def contend():
        while time.monotonic() < until:
            dlock(pair, 0, "run", "-w", "30", "-k", pair.key, "--", "sh", "-c", script)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for contender in (agent, second):
            contender.send("contend", pair.key, 10000, path, SECONDS)
        loops = [pool.submit(contend) for _ in range(2)]
        for loop in loops:
            loop.result()
        counts = [contender.answer() for contender in (agent, second)]
    second.stop()
    lines = read(path)
    for enter, leave in zip(lines[::2], lines[1::2], strict=True):
        assert enter.startswith("enter ") and leave == enter.replace("enter", "leave"), f"{enter}, then {leave}"
    entered = {kind: lines.count(f"enter {kind}") for kind in ("library", "dlock")}
    assert entered["library"] == sum(map(int, counts)), f"{entered}, and the library says {counts}"
    assert min(entered.values()) >= 3, f"one starves: {entered}"
    pair.figures["entered"] = entered


CHECKS = [
    dlock_is_refused_while_the_library_holds,
    dlock_waits_and_gets_in_after_the_library_let_go,
    the_library_is_refused_waits_and_gets_in_after_dlock_let_go,
    the_library_does_not_release_what_passed_to_dlock,
    dlock_does_not_release_what_passed_to_the_library,
    a_lock_of_the_librarys_default_length_is_waited_for,
    both_contend_and_never_hold_at_once,
]


def the_document_names_it(pair):
    the_document_names(f"| {pair.library} | {pair.version} | `{pair.layout}` |", DOCS)


def run(pair):
    outcomes = [judge(pair, the_document_names_it)]
    for check in CHECKS:
        if check is a_lock_of_the_librarys_default_length_is_waited_for and pair.endless is None:
            continue
        # A fresh one each time: what one check left held must not decide the next.
        pair.key = f"interop:{pair.library}:{CHECKS.index(check)}"
        agent = pair.start()
        outcomes.append(judge(pair, check, agent))
        agent.stop()
        print(outcomes[-1][1], flush=True)
    return outcomes


def pairs():
    python = os.path.join(HOME, "python/bin/python")
    agents = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agents")
    java = ["java", "-cp", os.path.join(HOME, "java/classes") + ":" + os.path.join(HOME, "java/lib/*"), "RedissonAgent"]
    version = lambda name: os.environ["VERSION_" + name]
    snake = lambda library: [python, os.path.join(agents, "python.py"), library, URL]
    node = ["node", os.path.join(HOME, "node/redlock.cjs"), URL]
    return [
        Pair("redis-py", "dlock", snake("redis-py"), version("REDIS_PY"), woken=False, endless=True),
        Pair("node-redlock", "dlock", node, version("REDLOCK"), woken=False, endless=None),
        Pair("redsync", "dlock", [os.path.join(HOME, "go/agent"), URL], version("REDSYNC"), woken=False, endless=None),
        Pair(
            "python-redis-lock", "python-redis-lock", snake("python-redis-lock"), version("PYTHON_REDIS_LOCK"),
            woken=True, endless=True,
        ),
        Pair("redisson", "redisson", [*java, "redisson", URL], version("REDISSON"), woken=True, endless=False),
        Pair("redisson-fair", "redisson", [*java, "redisson-fair", URL], version("REDISSON"), woken=True, endless=False),
    ]


def main():
    never_hang(SECONDS)
    chosen = [pair for pair in pairs() if pair.library in sys.argv[5:]]
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        outcomes = [outcome for of_pair in pool.map(run, chosen) for outcome in of_pair]
    print()
    for pair in chosen:
        spans = [f"{side} in after {pair.figures[side]:.3f} s" for side in ("dlock", "library") if side in pair.figures]
        print(f"{pair.library} {pair.version}:", ", ".join(spans), "entered:", pair.figures.get("entered"))
    return tell(outcomes)


sys.exit(main())
