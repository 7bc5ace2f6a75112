"""Holds and awaits each lock from both sides: dlock on the one, the real library on the other, on ZooKeeper.

Every agent reads lines and answers each with one; MODE is write or read, PATH the path of the lock:
  lock MODE PATH                  takes the lock, however long that takes: yes
  try MODE PATH                   yes, or no when it is held
  unlock MODE PATH                yes
  contend MODE PATH FILE SECONDS  locks and unlocks all the time, marks each in FILE, says how often
"""

import concurrent.futures
import json
import os
import select
import subprocess
import sys
import time

from agent import HANGS, Agent, fresh, judge, mark, never_hang, read, said_by, tell, the_document_names

DLOCK, HOSTS, HOME, DOCS = sys.argv[1:5]
SECONDS = float(os.environ.get("DLOCK_INTEROP_SECONDS", "8"))
# A wake-up that was missed would take as long as a session, 6 s.
AT_ONCE = 1.0
# What nobody may do for as long as somebody holds.
NOT_YET = 0.5
# The sessions of the agents, and what a server takes at most to notice that one is over.
SESSION, NOTICE = 6.0, 2.0


class Pair:
    def __init__(self, library, layout, agent, version, seen, modes=("write",), tries=True, more=()):
        self.library, self.layout, self.agent, self.version = library, layout, agent, version
        # The modes of dlock that the library sees, those it has itself, and whether it can give up without waiting.
        self.seen, self.modes, self.tries = seen, modes, tries
        # Checks of its own.
        self.more = list(more)
        self.path = None
        self.figures = {}

    def start(self):
        return Agent(self.agent)


class Waiter:
    """An attempt of the library's that is under way."""

    def __init__(self, pair, mode="write"):
        self.pair, self.mode, self.agent = pair, mode, pair.start()
        seen = len(contenders(pair))
        self.agent.send("lock", mode, pair.path)
        # It is the agent's own node that comes: nobody else does anything meanwhile.
        until = time.monotonic() + HANGS
        while len(contenders(pair)) == seen:
            assert time.monotonic() < until, "the library does not enter the queue"
            time.sleep(0.01)

    def is_outside(self):
        answer = self.agent.answer(within=NOT_YET)
        assert answer is None, f"the library answers {answer!r} while others hold"

    def gets_in(self, what="library"):
        began = time.monotonic()
        answer = self.agent.answer(within=10)
        took = time.monotonic() - began
        assert answer == "yes", f"the library answers {answer!r}"
        assert took < AT_ONCE, f"it took {took:.3f} s"
        self.pair.figures.setdefault(what, took)

    def leaves(self):
        self.agent.expect("yes", "unlock", self.mode, self.pair.path)
        self.agent.stop()


class Run:
    """A dlock that runs a command until it is told to end."""

    def __init__(self, pair, *options, layout=None):
        self.pair = pair
        call = ["run", "-w", "60", "-k", pair.path, *options, "--", "sh", "-c", "echo in; read -r line; exit 0"]
        self.process = start(pair, *call, layout=layout)

    def holds(self, what=None):
        began = time.monotonic()
        said = said_by(self.process.stdout)
        took = time.monotonic() - began
        assert said == "in\n", f"{said!r}: {self.process.stderr.read()}"
        assert what is None or took < AT_ONCE, f"it took {took:.3f} s"
        if what:
            self.pair.figures.setdefault(what, took)
        return self

    def waits(self):
        said = said_by(self.process.stderr)
        assert "waiting" in said, said
        return self

    def is_outside(self):
        said, _, _ = select.select([self.process.stdout], [], [], NOT_YET)
        assert not said and self.process.poll() is None, "dlock got in while others hold"

    def leaves(self):
        _, errors = self.process.communicate("\n", timeout=HANGS)
        assert self.process.returncode == 0, errors


def environment(pair, layout=None):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DLOCK_")}
    return kept | {"DLOCK_ZK": HOSTS, "DLOCK_NAMESPACE": "", "DLOCK_LAYOUT": layout or pair.layout, "DLOCK_TTL": "6s"}


def start(pair, *args, layout=None):
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen([DLOCK, *args], env=environment(pair, layout), text=True, **streams)


def dlock(pair, status, *args, layout=None):
    env = environment(pair, layout)
    done = subprocess.run([DLOCK, *args], env=env, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == status, f"dlock {' '.join(args)}: {done.returncode}, not {status}: {done.stderr}"
    return done.stdout.strip() if status == 0 else done.stderr.strip()


def state(pair):
    return json.loads(dlock(pair, 0, "status", "--json", pair.path))[0]


def contenders(pair):
    shown = state(pair)
    return shown["holders"] + shown["waiters"]


def refused(pair, *options):
    dlock(pair, 75, "run", "-n", "-k", pair.path, *options, "--", "true")


def library_is_refused(pair, agent, mode="write"):
    if pair.tries:
        agent.expect("no", "try", mode, pair.path)


def dlock_is_refused_waits_and_gets_in_after_the_library_let_go(pair, agent):
    agent.expect("yes", "lock", "write", pair.path)
    refused(pair)
    dlock(pair, 75, "run", "-w", "300ms", "-k", pair.path, "--", "true")
    shown = state(pair)
    assert shown["state"] == "held" and shown["mode"] == "exclusive", shown
    assert [holder["phase"] for holder in shown["holders"]] == ["foreign"] and not shown["waiters"], shown
    waiter = Run(pair).waits()
    waiter.is_outside()
    agent.expect("yes", "unlock", "write", pair.path)
    waiter.holds("dlock").leaves()
    assert state(pair)["state"] == "free", state(pair)


def the_library_is_refused_waits_and_gets_in_after_dlock_let_go(pair, agent):
    holder = Run(pair).holds()
    library_is_refused(pair, agent)
    waiter = Waiter(pair)
    waiter.is_outside()
    holder.leaves()
    waiter.gets_in("library")
    refused(pair)
    waiter.leaves()


def both_are_served_in_the_order_in_which_they_came(pair, agent):
    agent.expect("yes", "lock", "write", pair.path)
    first = Run(pair).waits()
    second = Waiter(pair)
    third = Run(pair).waits()
    fourth = Waiter(pair)
    agent.expect("yes", "unlock", "write", pair.path)
    first.holds()
    second.is_outside()
    first.leaves()
    second.gets_in()
    third.is_outside()
    second.leaves()
    third.holds()
    fourth.is_outside()
    third.leaves()
    fourth.gets_in()
    fourth.leaves()


def a_one_shot_lease_stands_ahead_of_the_library_and_behind_it(pair, agent):
    token = dlock(pair, 0, "acquire", "-n", "-k", pair.path, "--ttl", "10m")
    library_is_refused(pair, agent)
    ahead = Waiter(pair)
    # The acquire waits as well, and gets its lease in the place where it stands.
    behind = start(pair, "acquire", "-k", pair.path, "--ttl", "10m")
    assert "waiting" in said_by(behind.stderr)
    last = Waiter(pair)
    ahead.is_outside()
    dlock(pair, 0, "renew", "-k", pair.path, "--token", token)
    dlock(pair, 0, "release", "-k", pair.path, "--token", token)
    ahead.gets_in()
    ahead.leaves()
    token = behind.communicate(timeout=HANGS)[0].strip()
    assert behind.returncode == 0
    # Its session is over, and the one behind it still waits.
    last.is_outside()
    assert state(pair)["holders"][0]["phase"] == "one-shot", state(pair)
    dlock(pair, 0, "release", "-k", pair.path, "--token", token)
    last.gets_in()
    last.leaves()
    dlock(pair, 79, "release", "-k", pair.path, "--token", token)


def what_is_held_at_least_keeps_the_library_out_to_its_end(pair, agent):
    began = time.monotonic()
    run = Run(pair, "--hold-at-least", "8s").holds()
    ahead = Waiter(pair)
    # The library looks at no lease: whoever of dlock's waits behind it sees to the end of this one.
    behind = Run(pair).waits()
    run.leaves()
    assert state(pair)["holders"][0]["phase"] == "held-at-least", state(pair)
    library_is_refused(pair, agent)
    ahead.is_outside()
    answer = ahead.agent.answer(within=8 + NOTICE)
    took = time.monotonic() - began
    assert answer == "yes", f"the library answers {answer!r}"
    assert 8 <= took < 8 + NOTICE, f"it got in after {took:.3f} s"
    behind.is_outside()
    ahead.leaves()
    behind.holds()
    behind.leaves()


def the_lease_of_a_holder_that_dies_passes_to_the_other_side(pair, agent):
    agent.expect("yes", "lock", "write", pair.path)
    waiter = Run(pair).waits()
    began = time.monotonic()
    agent.kill()
    waiter.holds()
    took = time.monotonic() - began
    assert took < SESSION + NOTICE, f"dlock got in {took:.3f} s after the library died"
    behind = Waiter(pair)
    token = state(pair)["holders"][0]["id"]
    assert token, state(pair)
    # The front alone: the keeper sees it, stops the command and releases.
    waiter.process.kill()
    began = time.monotonic()
    behind_answer = behind.agent.answer(within=SESSION + NOTICE)
    assert behind_answer == "yes", f"the library answers {behind_answer!r} {time.monotonic() - began:.1f} s after dlock died"
    waiter.process.wait()
    behind.leaves()


def every_mode_of_dlock_stands_ahead_of_the_library_and_behind_it(pair, agent):
    for options in pair.seen:
        holder = Run(pair, *options).holds()
        library_is_refused(pair, agent)
        waiter = Waiter(pair)
        waiter.is_outside()
        # One queue: whoever would fit beside the holder still comes behind the library that waits.
        refused(pair, *options)
        behind = Run(pair, *options).waits()
        holder.leaves()
        waiter.gets_in()
        behind.is_outside()
        refused(pair, *options)
        waiter.leaves()
        behind.holds("dlock").leaves()


def several_of_dlock_hold_at_once_and_the_library_waits_for_the_last(pair, agent):
    for options in pair.seen[1:]:
        first, second = Run(pair, *options).holds(), Run(pair, *options).holds()
        assert len(state(pair)["holders"]) == 2, state(pair)
        waiter = Waiter(pair)
        second.leaves()
        waiter.is_outside()
        first.leaves()
        waiter.gets_in()
        waiter.leaves()


def readers_of_both_hold_at_once_and_writers_of_both_wait_for_the_last(pair, agent):
    agent.expect("yes", "lock", "read", pair.path)
    reader = Run(pair, "--shared").holds()
    shown = state(pair)
    assert shown["mode"] == "shared" and len(shown["holders"]) == 2, shown
    refused(pair, "--exclusive")
    writers = Run(pair).waits(), Waiter(pair)
    reader.leaves()
    writers[0].is_outside()
    agent.expect("yes", "unlock", "read", pair.path)
    writers[0].holds("dlock")
    writers[1].is_outside()
    writers[0].leaves()
    writers[1].gets_in()
    writers[1].leaves()


def a_reader_waits_behind_a_writer_of_the_other_side(pair, agent):
    # Behind one that waits, dlock's reader first.
    agent.expect("yes", "lock", "read", pair.path)
    writer = Waiter(pair)
    refused(pair, "--shared")
    readers = Run(pair, "--shared").waits(), Waiter(pair, "read")
    agent.expect("yes", "unlock", "read", pair.path)
    writer.gets_in()
    readers[0].is_outside()
    readers[1].is_outside()
    writer.leaves()
    readers[0].holds()
    readers[1].gets_in()
    # Both hold; now the library's reader comes behind a writer of dlock's.
    writer = Run(pair).waits()
    library_is_refused(pair, agent, "read")
    late = Waiter(pair, "read")
    readers[0].leaves()
    readers[1].leaves()
    writer.holds()
    late.is_outside()
    writer.leaves()
    late.gets_in()
    late.leaves()


def another_layout_is_refused_while_the_library_holds_and_while_it_waits(pair, agent):
    others = [layout for layout in ("dlock", "curator-rw", "kazoo") if layout != pair.layout]
    agent.expect("yes", "lock", "write", pair.path)
    for layout in others:
        for patience in (["-n"], ["-w", "9"]):
            sentence = dlock(pair, 78, "run", *patience, "-k", pair.path, "--", "true", layout=layout)
            assert f"give --layout {pair.layout} to share it" in sentence, sentence
    assert len(contenders(pair)) == 1, contenders(pair)
    agent.expect("yes", "unlock", "write", pair.path)
    token = dlock(pair, 0, "acquire", "-n", "-k", pair.path, "--ttl", "1m")
    waiter = Waiter(pair)
    for layout in others:
        dlock(pair, 78, "run", "-n", "-k", pair.path, "--", "true", layout=layout)
    dlock(pair, 0, "release", "-k", pair.path, "--token", token)
    waiter.gets_in()
    waiter.leaves()


def it_waits_behind_dlocks_own_layout_which_refuses_to_stand_beside_it(pair, agent):
    holder = Run(pair, layout="dlock").holds()
    agent.expect("no", "try", "write", pair.path)
    waiter = Waiter(pair)
    for patience in (["-n"], ["-w", "9"]):
        dlock(pair, 78, "run", *patience, "-k", pair.path, "--", "true", layout="dlock")
    waiter.is_outside()
    holder.leaves()
    waiter.gets_in()
    dlock(pair, 78, "run", "-n", "-k", pair.path, "--", "true", layout="dlock")
    waiter.leaves()
    dlock(pair, 0, "run", "-n", "-k", pair.path, "--", "true", layout="dlock")


def both_contend_and_never_hold_at_once(pair, agent):
    path = fresh(HOME, f"{pair.library}-contention")
    agents = [agent] + [pair.start() for _ in pair.modes]
    agents = list(zip(agents, (*pair.modes, "write")))
    until = time.monotonic() + SECONDS
    kinds = {"write": "--exclusive", "read": "--shared"}

    def contend(mode):
        script = f"echo enter {mode} dlock >>'{path}'; sleep 0.003; echo leave {mode} dlock >>'{path}'"
        while time.monotonic() < until:
            dlock(pair, 0, "run", "-w", "30", "-k", pair.path, kinds[mode], "--", "sh", "-c", script)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for contender, mode in agents:
            contender.send("contend", mode, pair.path, path, SECONDS)
        loops = [pool.submit(contend, mode) for mode in (*pair.modes, "write")]
        for loop in loops:
            loop.result()
        counts = [contender.answer() for contender, _ in agents]
    for contender, _ in agents[1:]:
        contender.stop()
    entered, inside = {}, []
    for line in read(path):
        verb, mode, kind = line.split()
        if verb == "leave":
            inside.remove((mode, kind))
            continue
        assert not inside or mode == "read" and all(other == "read" for other, _ in inside), f"{line!r} beside {inside}"
        inside.append((mode, kind))
        entered[kind] = entered.get(kind, 0) + 1
    assert entered.get("library") == sum(map(int, counts)), f"{entered}, and the library says {counts}"
    assert min(entered.get("dlock", 0), entered["library"]) >= 3, f"one starves: {entered}"
    pair.figures["entered"] = entered


CHECKS = [
    dlock_is_refused_waits_and_gets_in_after_the_library_let_go,
    the_library_is_refused_waits_and_gets_in_after_dlock_let_go,
    both_are_served_in_the_order_in_which_they_came,
    a_one_shot_lease_stands_ahead_of_the_library_and_behind_it,
    what_is_held_at_least_keeps_the_library_out_to_its_end,
    the_lease_of_a_holder_that_dies_passes_to_the_other_side,
    every_mode_of_dlock_stands_ahead_of_the_library_and_behind_it,
    several_of_dlock_hold_at_once_and_the_library_waits_for_the_last,
    another_layout_is_refused_while_the_library_holds_and_while_it_waits,
    both_contend_and_never_hold_at_once,
]
CHECKS_OF_READERS = [
    readers_of_both_hold_at_once_and_writers_of_both_wait_for_the_last,
    a_reader_waits_behind_a_writer_of_the_other_side,
]


def the_document_names_it(pair):
    the_document_names(f"| {pair.library} | {pair.version} | `{pair.layout}` |", DOCS)


def run(pair):
    outcomes = [judge(pair, the_document_names_it)]
    for check in CHECKS + (CHECKS_OF_READERS if "read" in pair.modes else []) + pair.more:
        # A fresh one each time: what one check left held must not decide the next.
        pair.path = f"/interop/{pair.library}/{check.__name__}"
        agent = pair.start()
        outcomes.append(judge(pair, check, agent))
        agent.stop()
        print(outcomes[-1][1], flush=True)
    return outcomes


def pairs():
    python = os.path.join(HOME, "python/bin/python")
    agents = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agents")
    java = ["java", "-cp", os.path.join(HOME, "java/classes") + ":" + os.path.join(HOME, "java/lib/*"), "CuratorAgent"]
    version = lambda name: os.environ["VERSION_" + name]
    kazoo = lambda library: [python, os.path.join(agents, "kazoo_agent.py"), library, HOSTS]
    go = [os.path.join(HOME, "go-zookeeper/agent"), "go-zookeeper", HOSTS]
    both = ("read", "write")
    exclusive, shared, slots = ["--exclusive"], ["--shared"], ["--slots", "2"]
    every, readers_too = [exclusive, shared, slots], [exclusive, shared]
    return [
        Pair("curator-mutex", "dlock", [*java, "curator-mutex", HOSTS], version("CURATOR"), every),
        Pair("curator-rw", "curator-rw", [*java, "curator-rw", HOSTS], version("CURATOR"), readers_too, modes=both),
        Pair("go-zookeeper", "dlock", go, version("GO_ZOOKEEPER"), every, tries=False),
        Pair("kazoo-lock-names", "dlock", kazoo("kazoo-lock-names"), version("KAZOO"), every),
        # Its plain Lock does not look at readers; its WriteLock does.
        Pair("kazoo", "kazoo", kazoo("kazoo"), version("KAZOO"), [exclusive]),
        Pair(
            "kazoo-patterns", "kazoo", kazoo("kazoo-patterns"), version("KAZOO"), [exclusive],
            more=[it_waits_behind_dlocks_own_layout_which_refuses_to_stand_beside_it],
        ),
        Pair("kazoo-rw", "kazoo", kazoo("kazoo-rw"), version("KAZOO"), readers_too, modes=both),
    ]


def main():
    never_hang(SECONDS)
    chosen = [pair for pair in pairs() if pair.library in sys.argv[5:]]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = [outcome for of_pair in pool.map(run, chosen) for outcome in of_pair]
    print()
    for pair in chosen:
        spans = [f"{side} in after {pair.figures[side]:.3f} s" for side in ("dlock", "library") if side in pair.figures]
        print(f"{pair.library} {pair.version}:", ", ".join(spans), "entered:", pair.figures.get("entered"))
    return tell(outcomes)


sys.exit(main())
