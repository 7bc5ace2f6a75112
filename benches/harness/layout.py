"""Writes the linker's list of the functions that a run executes, from callgrind's record of one run on each backend."""

import bisect
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

from .servers import Redis, ZooKeeper

HEAD = """\
/* What every `dlock run` executes, side by side: a program is fetched in pieces of 64 KB, and these functions were in
   each of its 80. Written by benches/layout.sh, read by build.rs. A function that is not here, or not any more, lies
   where it would lie without this file; so do constants without a name of their own (Lanon), whose numbers are those of
   one source and one compiler. Understood by GNU ld and by LLVM's lld. */
"""


# What callgrind does not see: the command's own process before it is the command, functions for what the processor has
# and callgrind's lacks.
BESIDE = """\
*(.text._ZN5dlock3sys5spawn*)
*crt1.o(.text .text.*)
*(.iplt)
*(.text._ZN4sha26sha2567x86_sha*)
*libc.a:execve.lo(.text .text.*)
"""

# Sixteen kilobytes of zeros in the middle of glibc's variables, most of which are written at every start.
APART = "*libc.a:pthread_keys.o(.bss .bss.* COMMON)"


def executed(program, options, command, scratch):
    """The names of the functions that the front and the keeper execute around a command."""
    with tempfile.TemporaryDirectory(dir=scratch) as records:
        callgrind = ["valgrind", "-q", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={records}/%p"]
        subprocess.run(
            [*callgrind, program, "run", *options, "--key", "layout", "--", *command],
            env={"PATH": "/usr/bin:/bin", "HOME": scratch},
            check=True,
        )
        found = []
        for path in glob.glob(f"{records}/*"):
            with open(path, encoding="utf-8") as lines:
                record = lines.read()
            count = int(re.search(r"^summary: (\d+)", record, re.M)[1])
            names = re.findall(r"^c?fn=\(\d+\) (.*)$", record, re.M)
            found.append((count, {re.sub(r"'\d+$", "", name) for name in names}))
    # The keeper's record begins with what it did before it was forked.
    found.sort(key=lambda record: record[0])
    return found[0][1], found[-1][1]


def waited(program, options, scratch):
    """The same of a run that has to wait until another one has ended."""
    words = [program, "run", *options, "--key", "layout", "--", "/bin/sh", "-c", "echo held; exec sleep 5"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        return executed(program, options, ["/bin/true"], scratch)


def constants_of(path):
    """Where the linker's map says that each piece of the constants lies: begin, end and name, in the order of addresses."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        text = re.sub(r"\n {16,}(?=0x)", " ", lines.read())
    found = re.findall(r"^ (\.rodata\.\S+) +0x([0-9a-f]+) +0x([0-9a-f]+) \S", text, re.M)
    pieces = ((int(at, 16), int(at, 16) + int(size, 16), name) for name, at, size in found)
    return sorted(piece for piece in pieces if piece[0] < piece[1])


def touched(program, options, scratch, pieces):
    """The names of the pieces that a run reads from."""
    begins = [begin for begin, _, _ in pieces]
    read = set()
    with tempfile.TemporaryDirectory(dir=scratch) as records:
        lackey = ["valgrind", "--tool=lackey", "--trace-mem=yes", f"--log-file={records}/%p"]
        subprocess.run(
            [*lackey, program, "run", *options, "--key", "layout", "--", "/bin/true"],
            env={"PATH": "/usr/bin:/bin", "HOME": scratch},
            check=True,
        )
        for path in glob.glob(f"{records}/*"):
            with open(path, encoding="utf-8", errors="replace") as lines:
                for at in {int(at, 16) for at in re.findall(r"^ [LM] ([0-9a-f]+),", lines.read(), re.M)}:
                    number = bisect.bisect(begins, at) - 1
                    if number >= 0 and at < pieces[number][1]:
                        read.add(pieces[number][2])
    # What the linker merges by its contents is one large piece.
    return {name for name in read if not re.match(r"\.rodata\.(str|cst)", name)}


def members(library):
    """In which member of the C library each of its functions is, where that is one alone."""
    of = collections.defaultdict(set)
    listed = subprocess.run(["nm", "-A", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        place, kind, name = line.split()[0], *line.split()[-2:]
        if kind in "tTwWi":
            of[name].add(place.split(":")[-2])
    return {name: next(iter(places)) for name, places in of.items() if len(places) == 1}


def patterns(name, member_of):
    """How the linker's script names a function, whatever hash its compiler gives it."""
    name = re.sub(r"\.llvm\.\d+$", "", name)
    if name in member_of:
        # Some of the C library's functions come from Rust's own, where those are asked first.
        return [f"*libc.a:{member_of[name]}(.text .text.*)", f"*(.text.{name})"]
    if name.startswith("_ZN"):
        name = re.sub(r"17h[0-9a-f]{16}E.*", "17h*", name)
    elif name.startswith("_R"):
        name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name) + "*"
    elif not re.fullmatch(r"[a-z_]\w*", name):
        return []
    return [f"*(.text.{name})", f"*(.text.unlikely.{name})"]


def main():
    """Runs dlock on each backend, and writes the list."""
    program, library, map_of_it, path = sys.argv[1:]
    pieces = constants_of(map_of_it)
    servers = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for kind in (Redis, ZooKeeper):
                directory = os.path.join(scratch, kind.__name__)
                os.mkdir(directory)
                servers.append(kind(directory))
            redis, zookeeper = servers
            ways = (["--backend", "file", "--dir", scratch], ["--redis", redis.url], ["--zk", zookeeper.address])
            starts = [executed(program, way, ["/bin/true"], scratch) for way in ways]
            # Valgrind does not let a process be made that shares its parent's descriptors, as a wait for a file does.
            waits = [waited(program, way, scratch) for way in ways[1:]]
            read = sorted(set().union(*(touched(program, way, scratch, pieces) for way in ways)))
            # Renewed several times, however slowly callgrind lets it go.
            holds = [executed(program, [*way, "--ttl", "6s"], ["/bin/sleep", "5"], scratch) for way in ways]
        finally:
            for server in servers:
                server.stop()
    front, keepers = set().union(*(front for front, _ in starts)), [keeper for _, keeper in starts]
    waiting, holding = (set().union(*(front | keeper for front, keeper in runs)) for runs in (waits, holds))
    common = set.intersection(*keepers)
    member_of = members(library)
    written = {}
    # What both processes need, then what one of them needs alone, backend by backend, then what only a wait or a hold needs.
    alone = [keeper - common - front for keeper in keepers]
    written.update(dict.fromkeys(BESIDE.splitlines()))
    for group in (front & common, front - common, common - front, *alone, waiting, holding):
        for name in sorted(group):
            written.update(dict.fromkeys(patterns(name, member_of)))
    # The constants of these functions, as far as they have names that stay; not those of what only a wait or a hold needs.
    constants = {f"*({name})": None for name in read if ".Lanon." in name}
    for name in sorted(front.union(*keepers)):
        for pattern in patterns(name, member_of):
            if pattern.startswith("*libc.a:"):
                constants[pattern.replace(".text", ".rodata")] = None
            elif pattern.startswith("*(.text._"):
                constants[pattern.replace("*(.text.", "*(.rodata.")] = None
                constants[pattern.replace("*(.text.", "*(.rodata..Lswitch.table.")] = None
    with open(path, "w", encoding="utf-8") as script:
        script.write(HEAD)
        for name, patterns_of in (("text", written), ("rodata", constants)):
            script.write(f"SECTIONS\n{{\n  .{name}.hot :\n  {{\n")
            script.writelines(f"    {pattern}\n" for pattern in patterns_of)
            script.write(f"  }}\n}}\nINSERT BEFORE .{name};\n")
        script.write(f"SECTIONS\n{{\n  .bss.apart (NOLOAD) :\n  {{\n    {APART}\n  }}\n}}\nINSERT AFTER .bss;\n")
    print(f"{path}: {len(written)} patterns of {len(front.union(waiting, holding, *keepers))} functions")


if __name__ == "__main__":
    main()
