"""The servers that the locks live in: started on free loopback ports, and ended by their pids."""

import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request

from .processes import Failed, eventually

ZOOKEEPER_JARS = ("zookeeper", "netty-codec", "netty-resolver", "netty-transport-native-unix-common")


def free_port():
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that serves on loopback until it is ended."""

    def __init__(self, name, directory, words, port, ready, seconds=60.0):
        self.name, self.directory, self.port = name, directory, port
        self.address = f"127.0.0.1:{port}"
        self.log = os.path.join(directory, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            eventually(f"{name} serves", lambda: self.alive() and ready(self), seconds, every=0.05)
        except BaseException:
            self.stop()
            raise

    def alive(self):
        """Fails with the end of its log when it is gone."""
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise Failed(f"{self.name} ended: {''.join(log.readlines()[-5:])}")
        return True

    def stop(self):
        """Ends it, and waits until it is gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Redis(Server):
    """A Redis without persistence, with TLS on a second port where certificates are given."""

    def __init__(self, directory, certificates=None):
        port = free_port()
        words = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", directory]
        words += ["--save", "", "--appendonly", "no", "--maxclients", "10000"]
        if certificates:
            self.tls_port = free_port()
            words += ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no"]
            words += ["--tls-cert-file", certificates.pem("server"), "--tls-key-file", certificates.key("server")]
            words += ["--tls-ca-cert-file", certificates.pem("ca")]
        super().__init__("redis-server", directory, words, port, self.is_ready)
        self.url = f"redis://{self.address}"

    def is_ready(self, _):
        """Whether it is this server that answers."""
        try:
            return self.client().info("server")["process_id"] == self.process.pid
        except Exception:  # pylint: disable=broad-except
            return False

    def client(self):
        """A connection of the harness."""
        import redis

        return redis.Redis(port=self.port)

    def version(self):
        """As it says."""
        return self.client().info("server")["redis_version"]


class Monitor:
    """Every command that a client sends between `begin` and `end`, not those inside scripts."""

    # The server shows nobody the commands that can hold a password.
    HIDDEN = ("hello", "auth")

    def __init__(self, server):
        self.server, self.client = server, server.client()
        self.connection = socket.create_connection(("127.0.0.1", server.port))
        self.lines, self.news = [], threading.Condition()
        self.connection.sendall(b"MONITOR\r\n")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.mark = 0
        self.begin()

    def read(self):
        """What the server shows, line by line, until the connection ends."""
        with self.connection.makefile("r", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                with self.news:
                    self.lines.append(line)
                    self.news.notify_all()

    def reach(self):
        """Where in the lines a word stands that is said now: all that came before is before it."""
        self.mark += 1
        word = f'"dlock-bench-{self.mark}"'
        with self.news:
            seen = len(self.lines)
        self.client.echo(word.strip('"'))
        with self.news:
            while True:
                for number in range(seen, len(self.lines)):
                    if word in self.lines[number]:
                        return number
                if not self.news.wait(30):
                    raise Failed("the monitor of Redis shows nothing")

    def hidden(self):
        """How often commands were called that are not shown."""
        calls = self.client.info("commandstats")
        return sum(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in self.HIDDEN)

    def begin(self):
        """From here on it counts."""
        self.before = self.hidden()
        self.start = self.reach() + 1

    def end(self):
        """How many there were, and how many by each address."""
        stop = self.reach()
        of = {}
        with self.news:
            for line in self.lines[self.start : stop]:
                address = line.partition("[")[2].partition("]")[0].split()[-1]
                if address != "lua":
                    of[address] = of.get(address, 0) + 1
        return sum(of.values()) + self.hidden() - self.before, of

    def close(self):
        """Ends the connection, and with it the reader."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.connection.close()


class ZooKeeper(Server):
    """One ZooKeeper that leads alone, with a heap and a compiler as a server has them."""

    def __init__(self, directory):
        port = free_port()
        config = os.path.join(directory, "zoo.cfg")
        with open(config, "w", encoding="utf-8") as text:
            text.write(
                f"dataDir={directory}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=200\n"
                "minSessionTimeout=1000\nmaxSessionTimeout=4000000\nmaxClientCnxns=0\nadmin.enableServer=false\n"
                "4lw.commands.whitelist=*\n"
            )
        jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in ZOOKEEPER_JARS)
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        words = ["java", "-Xms512m", "-Xmx512m", "-cp", jars, main, config]
        super().__init__("ZooKeeper", directory, words, port, lambda server: "Mode: " in server.ask("srvr"))

    def ask(self, word):
        """What it says to one of its four-letter words; nothing while it does not listen."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(word.encode())
                return connection.makefile("r", encoding="utf-8").read()
        except OSError:
            return ""

    def monitored(self):
        """Its counters by name."""
        lines = (line.split("\t") for line in self.ask("mntr").splitlines())
        return {words[0]: words[1] for words in lines if len(words) == 2}

    def requests(self):
        """Packets that it has received from clients, pings among them, these questions not."""
        asked = getattr(self, "asked", 0)
        self.asked = asked + 1
        return int(float(self.monitored()["zk_packets_received"])) - asked

    def notifications(self):
        """Watches that have fired so far."""
        counters = self.monitored()
        self.asked = getattr(self, "asked", 0) + 1
        return sum(
            int(counters[f"zk_sum_node_{what}_watch_count"]) for what in ("deleted", "changed", "children", "created")
        )

    def client(self):
        """A session of the harness, to be stopped by whoever asked for it."""
        from kazoo.client import KazooClient

        client = KazooClient(self.address)
        client.start()
        return client

    def version(self):
        """As it says."""
        return self.monitored()["zk_version"].split("-")[0]


class Etcd(Server):
    """One etcd that leads alone."""

    def __init__(self, directory):
        port, peer = free_port(), free_port()
        client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        words = ["etcd", "--name", "bench", "--data-dir", os.path.join(directory, "data")]
        words += ["--listen-client-urls", client, "--advertise-client-urls", client]
        words += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        words += ["--initial-cluster", f"bench={peers}"]
        super().__init__("etcd", directory, words, port, lambda server: '"true"' in server.get("/health"))

    def get(self, path):
        """A page of its; nothing while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as page:
                return page.read().decode()
        except (urllib.error.URLError, OSError):
            return ""

    def requests(self):
        """Messages that clients have sent, those of long-lasting calls among them."""
        counts = (
            line for line in self.get("/metrics").splitlines() if line.startswith("grpc_server_msg_received_total")
        )
        return int(sum(float(line.split()[-1]) for line in counts))


class Consul(Server):
    """One consul that leads alone and keeps nothing."""

    def __init__(self, directory):
        port, serf, rpc = free_port(), free_port(), free_port()
        words = ["consul", "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-data-dir", directory]
        words += ["-http-port", str(port), "-dns-port", "-1", "-serf-lan-port", str(serf), "-serf-wan-port", "-1"]
        words += ["-server-port", str(rpc), "-hcl", "ports { grpc = -1, grpc_tls = -1 }"]
        super().__init__("consul", directory, words, port, lambda server: len(server.leader()) > 4)

    def leader(self):
        """Who leads, in quotes; two quotes while nobody does."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/v1/status/leader", timeout=5) as page:
                return page.read().decode()
        except (urllib.error.URLError, OSError):
            return ""


class Certificates:
    """An authority and a server's certificate for loopback, made by openssl."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        about = ["-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.openssl("ca", [*about, "-subj", "/CN=dlock bench authority"])
        signs = ["-CA", self.pem("ca"), "-CAkey", self.key("ca"), "-subj", "/CN=server"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        self.openssl("server", [*about, *signs, *names, "-addext", "basicConstraints=critical,CA:FALSE"])

    def openssl(self, name, words):
        """Makes the certificate `name`."""
        files = ["-keyout", self.key(name), "-out", self.pem(name)]
        made = subprocess.run(
            ["openssl", "req", "-x509", *words, *files],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise Failed(f"openssl: {made.stderr}")

    def pem(self, name):
        """The path of a certificate."""
        return os.path.join(self.directory, f"{name}.pem")

    def key(self, name):
        """The path of its key."""
        return os.path.join(self.directory, f"{name}.key")
