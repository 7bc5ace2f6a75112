"""The tables of growth."""

from .cells import across, duration, median_of, middle, names, sizes, spread, table


def growth_of_waiters(result):
    """Hand-over against waiters."""
    runs = result["runs"]
    crowds = sizes(runs, "growth", "waiters")
    rows = []
    for name in names(runs, "growth", "waiters", crowds[0]):
        rows.append(
            (f"{name}, ms", *(median_of(across(runs, "growth", "waiters", crowd, name, "ms")) for crowd in crowds))
        )
        asked = [middle(across(runs, "growth", "waiters", crowd, name, "requests"), 1) for crowd in crowds]
        if any(asked):
            rows.append((f"{name}, requests", *asked))
    return table(["hand-over", *(f"{crowd} waiters" if crowd != "1" else "1 waiter" for crowd in crowds)], rows)


def growth_of_keys(result):
    """Another run and a list beside held keys."""
    runs, rows = result["runs"], []
    found = across(runs, "keys")
    columns = sorted({size for one in found for row in one.values() for size in row}, key=int)
    for name in names(runs, "keys"):
        for what, title in (("run_ms", "run, ms"), ("list_ms", "list, ms")):
            cells = (median_of(across(runs, "keys", name, size, what)) for size in columns)
            rows.append((f"{name}, {title}", *cells))
    return table(["beside held keys", *(f"{int(size):,}" for size in columns)], rows)


def growth_of_ttl(result):
    """A holder's requests and a whole run, against the TTL."""
    runs, rows = result["runs"], []
    found = across(runs, "growth", "ttl")
    columns = sorted({ttl for one in found for row in one.values() for ttl in row}, key=int)
    for name in names(runs, "growth", "ttl"):
        for what, title in (
            ("per_minute", "requests per minute while holding"),
            ("pings_per_minute", "pings per minute"),
        ):
            cells = [middle(across(runs, "growth", "ttl", name, ttl, what), 0) for ttl in columns]
            if set(cells) != {"0"}:
                rows.append((f"{name}, {title}", *cells))
        cells = (median_of(across(runs, "growth", "ttl", name, ttl, "run_ms")) for ttl in columns)
        rows.append((f"{name}, run, ms", *cells))
    return table(["TTL", *map(duration, columns)], rows)


def growth_of_length(result):
    """A whole run against the length of its key, and with TLS."""
    runs = result["runs"]
    found = across(runs, "growth", "length")
    columns = sorted({length for one in found for row in one.values() for length in row}, key=int)
    rows = [
        (f"{name}, run, ms", *(median_of(across(runs, "growth", "length", name, length)) for length in columns))
        for name in names(runs, "growth", "length")
    ]
    return table(["bytes of the key", *columns], rows)


def growth_of_tls(result):
    """A whole run with TLS."""
    runs = result["runs"]
    rows = [(name, spread(across(runs, "growth", "tls", name, "ms"))) for name in ("dlock redis", "dlock redis, TLS")]
    ratio = middle(across(runs, "growth", "tls", "dlock redis, TLS", "to_plain", "ratio"), 2)
    return table(["", "run, ms [p10–p90]", "× without"], [(*rows[0], ""), (*rows[1], ratio)])


def growth_of_delay(result):
    """Start and release against the way to the server."""
    runs, rows = result["runs"], []
    found = across(runs, "growth", "delay")
    columns = sorted({delay for one in found for row in one.values() for delay in row["delays"]}, key=int)
    for name in names(runs, "growth", "delay"):
        row = [name]
        for delay in columns:
            of = across(runs, "growth", "delay", name, "delays", delay)
            row.append(
                " + ".join(median_of([one[what] for one in of]) for what in ("to_command_ms", "from_command_ms"))
            )
        before, after = (across(runs, "growth", "delay", name, f"round_trips_{when}") for when in ("before", "after"))
        rows.append((*row, middle(before, 1), middle(after, 1)))
    heads = (f"{delay} ms" for delay in columns)
    return table(["one way, before + after the command, ms", *heads, "round trips before", "after"], rows)
