"""The programs that are compared: how each runs a command under a lock, and how one sees who waits for it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

PEERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers")

TRUE = shutil.which("true", path="/usr/bin:/bin")
SH = shutil.which("sh", path="/usr/bin:/bin")
DATE = shutil.which("date", path="/usr/bin:/bin")
SLEEP = shutil.which("sleep", path="/usr/bin:/bin")

# What a program gets that is not about the lock: small and the same for all, for its size is a part of the cost.
VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "ETCDCTL_API": "3"}

TTL = "30"


@dataclass
class Tool:
    """A program that runs a command under a lock."""

    name: str
    # Words from a key, a TTL in seconds and the words of the command.
    words: Callable
    # How many wait for this key; None where it is not for waiting.
    waiting: Callable = None
    # Of so many rounds it takes part in one.
    pace: int = 1
    # Its server, for what that counts.
    server: object = None
    tags: frozenset = field(default_factory=frozenset)


class Contenders:
    """All tools that can be had on this machine, with their servers; and the names of those that cannot, with why."""

    def __init__(self, programs, scratch, servers):
        self.programs, self.scratch, self.servers = programs, scratch, servers
        self.environment = VARIABLES | {"HOME": scratch}
        self.missing = {}
        self.tools = {}
        for tool in self.known():
            self.tools[tool.name] = tool

    def named(self, *names):
        """Those of these names that there are, in this order."""
        return [self.tools[name] for name in names if name in self.tools]

    def known(self):
        """Everything that is compared."""
        yield Tool("true", lambda key, ttl, command: command)
        yield from self.on_files()
        if "redis" in self.servers:
            yield from self.on_redis(self.servers["redis"])
        if "zookeeper" in self.servers:
            yield from self.on_zookeeper(self.servers["zookeeper"])
        if "etcd" in self.servers:
            yield self.etcdctl(self.servers["etcd"])
        else:
            self.missing["etcdctl lock"] = "etcd-server and etcd-client could not be installed"
        if "consul" in self.servers:
            yield self.consul(self.servers["consul"])
        else:
            self.missing["consul lock"] = "no package registry that was asked has it (apt: consul)"
        self.missing["redlock-cli"] = "the registry of crates does not have it"
        self.missing["redlock of redlock-py"] = "with Python 3 its unlock leaves the lock taken"

    def on_files(self):
        """Of this host alone."""
        flock = shutil.which("flock", path="/usr/bin:/bin")
        path = lambda key: os.path.join(self.scratch, key.replace("/", "-"))
        yield Tool("flock", lambda key, ttl, command: [flock, path(key), *command], lambda key: blocked(path(key)))
        setlock = shutil.which("setlock", path="/usr/bin:/bin")
        if setlock:
            yield Tool(
                "setlock", lambda key, ttl, command: [setlock, path(key), *command], lambda key: blocked(path(key))
            )
        else:
            self.missing["setlock"] = "daemontools could not be installed"
        yield self.dlock("dlock file", ["--dir", self.scratch])

    def dlock(self, name, place, pace=1, server=None):
        """dlock itself, locking at a place that is given by options."""
        program = self.programs["dlock"]

        def words(key, ttl, command):
            return [program, "run", *place, "--key", key, "--ttl", f"{ttl}s", "--", *command]

        def waiting(key):
            said = self.asks([program, "status", *place, "--json", "-k", key])
            return sum(len(lock["waiters"]) for lock in json.loads(said or "[]"))

        return Tool(name, words, waiting, pace, server, frozenset({"dlock"}))

    def asks(self, words):
        """What a program says; it may fail."""
        told = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return told.stdout

    def python(self, script, address):
        """Words of one of our small programs around a library."""
        start = [self.programs["python"], "-E", os.path.join(PEERS, script), address]
        return lambda key, ttl, command: [*start, key, str(ttl), *command]

    def on_redis(self, server):
        """With leases in Redis."""
        yield self.dlock("dlock redis", ["--redis", server.url], server=server)
        if hasattr(server, "tls_port"):
            place = ["--redis", f"rediss://127.0.0.1:{server.tls_port}"]
            yield self.dlock("dlock redis, TLS", [*place, "--tls-ca", server.certificates.pem("ca")], server=server)
        last = lambda word: sum(client["cmd"].split("|")[0] == word for client in server.client().client_list())
        port = str(server.port)
        # The holder's last command is the same as that of those who ask again and again.
        yield Tool("redis-py", self.python("redis_py.py", port), lambda key: last("set") - 1, 8, server)
        yield Tool("python-redis-lock", self.python("python_redis_lock.py", port), lambda key: last("blpop"), 8, server)

    def on_zookeeper(self, server):
        """With sessions of ZooKeeper."""
        yield self.dlock("dlock zk", ["--zk", server.address], server=server)
        queue = lambda key: max(0, len(self.nodes(f"/kazoo/{key}")) - 1)
        yield Tool("kazoo", self.python("kazoo_lock.py", server.address), queue, 8, server)
        if "zookeeper-peer" in self.programs:
            self.zookeeper().ensure_path("/peer")
            start = [self.programs["zookeeper-peer"], server.address, "/peer"]
            yield Tool("zookeeper-peer", lambda key, ttl, command: [*start, *command], server=server)

    def zookeeper(self):
        """The harness's own session, begun when it is first needed."""
        if not hasattr(self, "session"):
            self.session = self.servers["zookeeper"].client()
        return self.session

    def nodes(self, path):
        """The children of a node; none of one that is not there."""
        return self.zookeeper().get_children(path) if self.zookeeper().exists(path) else []

    def etcdctl(self, server):
        """etcd's own."""
        program = shutil.which("etcdctl")
        base = [program, f"--endpoints={server.address}"]

        def waiting(key):
            said = self.asks([*base, "get", "--prefix", f"{key}/", "--keys-only"])
            return len(said.split()) - 1

        return Tool(
            "etcdctl lock",
            lambda key, ttl, command: [*base, "lock", f"--ttl={ttl}", "--", key, *command],
            waiting,
            2,
            server,
        )

    def consul(self, server):
        """Consul's own."""
        program = shutil.which("consul")
        base = [program, "lock", f"-http-addr={server.address}", "-shell=false"]
        return Tool("consul lock", lambda key, ttl, command: [*base, key, *command], None, 8, server)

    def close(self):
        """Ends the harness's own session."""
        if hasattr(self, "session"):
            self.session.stop()
            self.session.close()


def blocked(path):
    """How many processes the kernel lets wait for the lock of a file."""
    if not os.path.exists(path):
        return 0
    inode = str(os.stat(path).st_ino)
    with open("/proc/locks", encoding="ascii") as locks:
        lines = [line.split() for line in locks]
    return sum(1 for words in lines if words[1] == "->" and words[6].split(":")[2] == inode)
