#!/usr/bin/python3
"""Curves of a bench-index JSON: FILE.recall.png (recall against QPS) and FILE.memory.png (memory
against QPS at recall 0.95). Run by tools/bench_index with Debian's Python, for its matplotlib.

plot.py FILE [FILE]...    further runs of the same set add the engines that the first lacks"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tools")]

import matplotlib  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot, ticker  # noqa: E402

import curve  # noqa: E402
import engines as known  # noqa: E402

AT = 0.95
MODES = ("quiver-default", "quiver-speed", "quiver-compact")


def style(name):
    """Quiver's modes are thick lines; a peer has the same colour and dashes in every picture."""
    if name.startswith("quiver"):
        at = MODES.index(name) if name in MODES else len(MODES)
        return {"linewidth": 2.5, "marker": "o", "markersize": 5,
                "color": ("black", "dimgrey", "darkgrey", "silver")[at]}
    at = list(known.PEERS).index(name)
    return {"linewidth": 1, "marker": ".", "color": f"C{at % 10}",
            "linestyle": ("-", "--", ":")[at // 10 % 3]}


def plain_numbers(axes):
    """20,000 instead of 2 x 10^4."""
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(ticker.FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.tick_params(axis="y", which="minor", labelsize=7)


def draw_recall(data, engines, path):
    figure, axes = pyplot.subplots(figsize=(9, 6))
    for name, points in engines.items():
        line = curve.envelope(points)
        axes.plot([p["recall"] for p in line], [1e6 / p["us"] for p in line], label=name,
                  **style(name))
    axes.set(xlabel="recall@10", ylabel="queries/s on one core", yscale="log", xlim=(0.8, 1.0),
             title=f"{data['data']}: recall against speed")
    plain_numbers(axes)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=100, bbox_inches="tight")


def draw_memory(data, engines, memory, path):
    figure, axes = pyplot.subplots(figsize=(9, 6))
    for name, points in engines.items():
        there = curve.at_recall(points, AT)
        if there is None:
            continue
        look = {k: v for k, v in style(name).items() if k == "color"}
        axes.scatter([memory[name] / 1e6], [1e6 / there[0]],
                     s=80 if name.startswith("quiver") else 30, **look)
        axes.annotate(name, (memory[name] / 1e6, 1e6 / there[0]), fontsize=8,
                      xytext=(5, 4), textcoords="offset points")
    axes.set(xlabel="memory to answer, MB", ylabel=f"queries/s at recall {AT}", yscale="log",
             title=f"{data['data']}: memory against speed")
    axes.set_xlim(left=0, right=1.15 * axes.get_xlim()[1])
    plain_numbers(axes)
    axes.grid(True, which="both", alpha=0.3)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main():
    engines, memory = {}, {}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        known = set(engines)
        for p in data["points"]:
            if p["name"] in known:
                continue
            engines.setdefault(p["name"], []).append(
                {"setting": p["setting"], "recall": p["recall_at_10"], "us": 1e6 / p["qps"]})
            memory[p["name"]] = p["memory_bytes"]
    stem = os.path.splitext(sys.argv[1])[0]
    draw_recall(data, engines, stem + ".recall.png")
    draw_memory(data, engines, memory, stem + ".memory.png")
    print(f"{stem}.recall.png {stem}.memory.png")


if __name__ == "__main__":
    main()
