"""Recall against speed: what of an engine's points counts, and its speed at a recall.

A point is {"setting", "recall", "us"}: microseconds a query."""

import math


def envelope(points):
    """The points that no other one beats in both, by recall."""
    best, out = math.inf, []
    for p in sorted(points, key=lambda p: (-p["recall"], p["us"])):
        if p["us"] < best:
            best = p["us"]
            out.append(p)
    return out[::-1]


def at_recall(points, recall):
    """(microseconds, how) at a recall: log-linear between the two points of the envelope about it.

    how: 'between', 'lowest' (the cheapest setting is above it already); None: not reached."""
    line = envelope(points)
    above = [p for p in line if p["recall"] >= recall]
    below = [p for p in line if p["recall"] < recall]
    if not above:
        return None
    if not below:
        return above[0]["us"], "lowest"
    lo, hi = below[-1], above[0]
    part = (recall - lo["recall"]) / (hi["recall"] - lo["recall"])
    return math.exp(math.log(lo["us"]) * (1 - part) + math.log(hi["us"]) * part), "between"


def nearest(points, recall):
    """The point to measure for a recall: the cheapest that reaches it. None: none does."""
    above = [p for p in envelope(points) if p["recall"] >= recall]
    return above[0] if above else None


def correction(points, point, recall):
    """What to multiply the time at `point` by to have it at `recall`, from the envelope's slope
    there. Points beside it are of one sweep, so that what the machine does cancels."""
    there = at_recall(points, recall)
    return 1.0 if there is None or there[1] == "lowest" else there[0] / point["us"]


def ef_of(setting):
    return int(setting[3:]) if setting.startswith("ef=") else None


def next_ef(points, recall):
    """An ef between the last below and the first at or above a recall that is worth a look, or
    None."""
    known = sorted((ef_of(p["setting"]), p["recall"]) for p in points if ef_of(p["setting"]))
    above = [k for k in known if k[1] >= recall]
    below = [k for k in known if k[1] < recall]
    if not above or not below or above[0][1] - recall < 0.0005:
        return None
    lo, hi = max(below), above[0]
    if hi[0] - lo[0] <= 1:
        return None
    miss = [math.log(max(1 - r, 1e-6)) for r in (lo[1], hi[1], recall)]
    part = (miss[2] - miss[0]) / (miss[1] - miss[0]) if miss[1] < miss[0] else 0.5
    ef = math.exp(math.log(lo[0]) + part * (math.log(hi[0]) - math.log(lo[0])))
    return min(max(math.ceil(ef), lo[0] + 1), hi[0] - 1)


def median(values):
    values = sorted(values)
    n = len(values)
    return (values[n // 2] + values[(n - 1) // 2]) / 2 if values else math.nan


def paired(ours, theirs):
    """The median of theirs / ours over the rounds that asked both; each {round: time}."""
    return median(theirs[r] / ours[r] for r in ours if r in theirs)
