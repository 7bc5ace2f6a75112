"""A way to a server that takes its time, and that counts what clients ask: requests by kind, and round trips."""

import asyncio
import struct
import threading

OPERATIONS = {
    1: "create",
    2: "delete",
    3: "exists",
    4: "get",
    5: "set",
    7: "acl",
    8: "list",
    9: "sync",
    11: "ping",
    12: "list",
    13: "check",
    14: "multi",
    15: "create",
    19: "create",
    100: "auth",
    101: "set watches",
    105: "set watches",
    106: "add watch",
    -11: "close",
}


class Proxy:
    """Listens on a loopback port of its own, in a thread of its own, until it is closed."""

    def __init__(self, port, delay=0.0, protocol=None):
        self.target, self.delay, self.protocol = port, delay, protocol
        self.counts, self.turns = {}, 0
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.main, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def main(self, ready):
        """The thread."""
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def serve(self, reader, writer):
        """One connection. Its set-up costs a round trip, too: what the client says is held up for it."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        state = {"theirs": True}
        opened = self.loop.time() + 2 * self.delay
        parser = {"redis": Redis, "zookeeper": ZooKeeper}.get(self.protocol, Nothing)(self)

        def asked(data):
            if state["theirs"]:
                self.turns += 1
            state["theirs"] = False
            parser.feed(data)

        def answered(_):
            state["theirs"] = True

        await asyncio.gather(
            self.pass_on(reader, up_writer, asked, opened),
            self.pass_on(up_reader, writer, answered, opened),
            return_exceptions=True,
        )

    async def pass_on(self, reader, writer, tell, opened):
        """Bytes of one direction, each as much later as the other, and then the end."""
        queue = asyncio.Queue()

        async def deliver():
            while True:
                due, data = await queue.get()
                wait = due - self.loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.ensure_future(deliver())
        try:
            while True:
                data = await reader.read(65536)
                if data:
                    tell(data)
                # Nothing reaches the server before the connection could have stood.
                queue.put_nowait((max(self.loop.time(), opened) + self.delay, data))
                if not data:
                    break
        except ConnectionError:
            queue.put_nowait((self.loop.time() + self.delay, b""))
        await delivery

    def count(self, kind):
        """One request more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def take(self):
        """Requests by kind and round trips since the last time."""
        counts, turns = self.counts, self.turns
        self.counts, self.turns = {}, 0
        return counts, turns

    def close(self):
        """Ends it with all of its connections."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


class Nothing:
    """Of a protocol that is not known here."""

    def __init__(self, proxy):
        pass

    def feed(self, data):
        """Counts nothing."""


class Redis:
    """Requests are arrays of strings: the first is the command."""

    def __init__(self, proxy):
        self.proxy, self.data = proxy, b""

    def feed(self, data):
        """Counts the requests that are complete."""
        self.data += data
        while True:
            parsed = self.parse()
            if parsed is None:
                return
            name, self.data = parsed
            self.proxy.count(name)

    def parse(self):
        """The first request's name, and what follows it; nothing when it is not all there."""
        line, end, rest = self.data.partition(b"\r\n")
        if not end:
            return None
        name = None
        for _ in range(int(line[1:])):
            line, end, rest = rest.partition(b"\r\n")
            size = int(line[1:]) if end else 0
            if not end or len(rest) < size + 2:
                return None
            name = name or rest[:size].decode(errors="replace").lower()
            rest = rest[size + 2 :]
        return name, rest


class ZooKeeper:
    """Frames with a length: the first is the greeting, the others have a number and a type."""

    def __init__(self, proxy):
        self.proxy, self.data, self.greeted = proxy, b"", False

    def feed(self, data):
        """Counts the frames that are complete."""
        self.data += data
        while len(self.data) >= 4:
            (size,) = struct.unpack(">i", self.data[:4])
            if len(self.data) < 4 + size:
                return
            frame, self.data = self.data[4 : 4 + size], self.data[4 + size :]
            if not self.greeted:
                self.greeted = True
                self.proxy.count("connect")
            else:
                kind = struct.unpack(">i", frame[4:8])[0]
                self.proxy.count(OPERATIONS.get(kind, str(kind)))
