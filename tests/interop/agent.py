"""What both drivers share: the libraries behind their line protocols, marks in a file, verdicts, and limits."""

import faulthandler
import os
import queue
import select
import subprocess
import threading

# No call takes longer unless something hangs.
HANGS = 45
# All checks together take a quarter of it. Then every thread says where it stands, and the driver fails.
ALL_HANG = 1200


class Agent:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.expect("ready")

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put("(the agent has ended)")

    def send(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")

    def answer(self, within=HANGS):
        try:
            return self.lines.get(timeout=within)
        except queue.Empty:
            return None

    def expect(self, wanted, *words):
        if words:
            self.send(*words)
        answer = self.answer()
        assert answer == wanted, f"the library answers {answer!r} to {' '.join(map(str, words))!r}, not {wanted!r}"

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


def mark(path, word):
    with open(path, "a") as file:
        file.write(word + "\n")


def read(path):
    with open(path) as file:
        return file.read().split("\n")[:-1]


def said_by(stream):
    """The next line of a dlock: one at a time is written, and whoever reads it reads all there is."""
    ready, _, _ = select.select([stream], [], [], HANGS)
    assert ready, f"dlock says nothing for {HANGS} s"
    return stream.readline()


def judge(pair, check, *args):
    try:
        check(pair, *args)
    except Exception as error:  # Whatever it is, the other checks still count.
        sentence = str(error) or type(error).__name__
        return False, f"FAILED {pair.library}: {check.__name__.replace('_', ' ')}: {sentence}"
    return True, f"ok     {pair.library}: {check.__name__.replace('_', ' ')}"


def the_document_names(row, docs):
    with open(docs) as file:
        assert any(line.startswith(row) for line in file), f"{docs} has no row {row}"


def never_hang(seconds):
    """With SECONDS of contention for each library."""
    faulthandler.dump_traceback_later(ALL_HANG + 10 * seconds, exit=True)


def tell(outcomes):
    """Says what failed; the status to end with."""
    failures = [sentence for passed, sentence in outcomes if not passed]
    print("\n".join(["", *failures]))
    print(f"{len(outcomes) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


def fresh(home, name):
    path = os.path.join(home, name)
    if os.path.exists(path):
        os.remove(path)
    return path
