"""Statistics: a middle, a spread, and how sure a ratio is."""

import random
import statistics


def quantile(ordered, share):
    """The value below which this share of an ordered list lies, between neighbours if need be."""
    if len(ordered) == 1:
        return ordered[0]
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def summary(values):
    """Median with the tenth, the quarters, the last tenth and the last twentieth, and how many there are."""
    ordered = sorted(values)
    marks = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95}
    found = {name: round(quantile(ordered, share), 4) for name, share in marks.items()}
    return found | {"n": len(ordered), "min": round(ordered[0], 4), "max": round(ordered[-1], 4)}


def ratio(values, base, resamples=1000):
    """The ratio of two medians, and where 95 of 100 resamplings (bootstrap) see it."""
    chance = random.Random(8)
    found = sorted(
        statistics.median(chance.choices(values, k=len(values))) / statistics.median(chance.choices(base, k=len(base)))
        for _ in range(resamples)
    )
    middle = statistics.median(values) / statistics.median(base)
    return {
        "ratio": round(middle, 4),
        "low": round(quantile(found, 0.025), 4),
        "high": round(quantile(found, 0.975), 4),
    }


def slope(points):
    """Least squares: by how much the second number grows with the first, and where it begins."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return rise, mean_y - rise * mean_x
