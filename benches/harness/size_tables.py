"""The tables of the program's size, and what each large part of it is for."""

from .cells import table

# What is bought with a crate, for those that are large; the others are small or belong to one of these.
BUYS = {
    "rustls": "TLS to Redis and ZooKeeper without the system's libraries",
    "webpki": "checks the certificates of TLS",
    "ring": "the ciphers of TLS",
    "webpki_roots": "the authorities that TLS trusts by default",
    "clap_builder": "the command line: options, their checks and their help",
    "clap_complete": "completions of five shells, made by the program itself",
    "clap_mangen": "the manual pages, made from the same definition",
    "redis": "the protocol and the connections of Redis",
    "zookeeper_client": "sessions of ZooKeeper",
    "tokio": "waits for sockets, clocks and signals at once in one thread",
    "toml": "the configuration file",
    "toml_edit": "the configuration file",
    "toml_parser": "the configuration file",
    "winnow": "parses the configuration file",
    "serde_json": "`--json`, and what holders and waiters store about themselves",
    "crossterm": "`dlock top` on a terminal",
    "comfy_table": "the tables of `status` and `list`",
    "dlock": "dlock's own code",
    "std": "Rust's standard library",
    "core": "Rust's standard library",
    "alloc": "Rust's standard library",
    "C library": "a C library in the program, so that no loader runs at the start",
    "gimli": "names of functions in the account of a defect (of the standard library)",
    "addr2line": "names of functions in the account of a defect (of the standard library)",
    "rustc_demangle": "names of functions in the account of a defect (of the standard library)",
    "sha2": "names for keys that are too long for a file",
    "nix": "system calls",
    "signal_hook": "signals",
    "hashbrown": "tables",
}


def program(result):
    """The program's size."""
    found = result["size"]
    rows = [("the program, static and stripped", f"{found['bytes'] / 1e6:.2f} MB")]
    rows += [(f"of it `{name}`", f"{size / 1e6:.2f} MB") for name, size in found["sections"].items()]
    rows += [("crates that are linked", found["dependencies"]), ("of them direct", len(found["direct"]))]
    if "build_s" in found:
        rows.append(("built from nothing, link-time optimisation included", f"{found['build_s']:.0f} s"))
    return table(["", ""], rows)


def code(result):
    """What fills the code, crate by crate."""
    found = result["size"].get("code")
    if not found:
        return ""
    rows, rest = [], 0
    for name, size in found.items():
        if size >= 30_000 or (name in BUYS and size >= 10_000):
            rows.append(
                (name.replace("_", "-") if name != "C library" else name, f"{size / 1000:.0f} kB", BUYS.get(name, ""))
            )
        else:
            rest += size
    rows.append(("all others together", f"{rest / 1000:.0f} kB", ""))
    return "\n\n" + table(["code of", "size", "what it buys"], rows)
