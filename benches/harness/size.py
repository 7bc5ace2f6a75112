"""How large the program is and what fills it, how many crates it is made of, and how long it takes to build."""

import os
import re
import shutil
import subprocess
import time

# Sections below this share of the file are not worth a name.
LARGE = 0.01

# Whose code it is, for symbols that no Rust path names.
FOREIGN = (("ring_core", "ring"), ("ring", "ring"), ("aws_lc", "aws-lc"))


def sections(binary):
    """Bytes of the larger sections."""
    told = subprocess.run(["size", "-A", "-d", binary], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in told.splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith(".") and words[0] not in (".bss", ".tbss"):
            found[words[0]] = int(words[1])
    whole = os.path.getsize(binary)
    return {name: size for name, size in sorted(found.items(), key=lambda one: -one[1]) if size > LARGE * whole}


def crate_of(symbol):
    """The crate that a demangled symbol belongs to: for an implementation that of the type, or of the trait."""
    for prefix, crate in FOREIGN:
        if symbol.startswith(prefix + "_"):
            return crate
    if "::" not in symbol:
        return "C library"
    generic = {"core", "alloc", "std"}
    names = [name for name in re.findall(r"([a-z_][a-z0-9_]*)(?:\[[0-9a-f]+\])?::", symbol)]
    # A generic function of the standard library is there for whoever uses it with a type of its own.
    known = [name for name in names if name in CRATES]
    for name in known:
        if name not in generic:
            return name
    return known[0] if known else "C library"


CRATES = set()


def crates(binary, names):
    """Bytes of code by crate, from the symbols of a binary that still has them."""
    CRATES.clear()
    CRATES.update(name.replace("-", "_") for name in names)
    CRATES.update({"core", "alloc", "std", "dlock"})
    words = ["nm", "--demangle", "--print-size", "--defined-only", binary]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found, seen = {}, set()
    for line in told.splitlines():
        parts = line.split(None, 3)
        # Code that is merged has several names.
        if len(parts) == 4 and parts[2] in "tTwW" and parts[0] not in seen:
            seen.add(parts[0])
            crate = crate_of(parts[3])
            found[crate] = found.get(crate, 0) + int(parts[1], 16)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def dependencies(target):
    """The crates that are linked, dlock itself not, and the direct ones."""
    base = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none"]
    listed = subprocess.run(base, capture_output=True, text=True, check=True).stdout
    direct = subprocess.run([*base, "--depth", "1"], capture_output=True, text=True, check=True).stdout
    lines = {line.removesuffix(" (*)") for line in listed.splitlines() if line}
    own = {line for line in lines if line.startswith("dlock-cli ")}
    names = sorted({line.split()[0] for line in lines - own})
    first = {line.removesuffix(" (*)").split()[0] for line in direct.splitlines() if line} - {"dlock-cli"}
    return names, sorted(first)


def built(target, home):
    """Builds it from nothing with its symbols kept; seconds, and the binary."""
    directory = os.path.join(home, "clean")
    shutil.rmtree(directory, ignore_errors=True)
    environment = os.environ | {"CARGO_TARGET_DIR": directory, "CARGO_PROFILE_RELEASE_STRIP": "none"}
    began = time.monotonic()
    words = ["cargo", "build", "--release", "--locked", "--bin", "dlock", "--target", target]
    subprocess.run(words, env=environment, check=True, stdin=subprocess.DEVNULL)
    return round(time.monotonic() - began, 1), os.path.join(directory, target, "release", "dlock")


def run(binary, target, home, full):
    """The sizes; the build and what each crate's code takes only where there is time for it."""
    names, direct = dependencies(target)
    found = {"bytes": os.path.getsize(binary), "sections": sections(binary)}
    found |= {"dependencies": len(names), "direct": direct}
    unstripped = os.environ.get("DLOCK_BENCH_UNSTRIPPED")
    if full and not unstripped:
        found["build_s"], unstripped = built(target, home)
    if unstripped:
        found["code"] = crates(unstripped, names)
    return found
