#!/usr/bin/python3
"""Curves of a bench-tune JSON, one picture a knob: FILE.<knob>.png. Run by tools/bench_tune with
Debian's Python, for its matplotlib."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import matplotlib  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

import plot  # noqa: E402

LABELLED = (10, 50, 200)  # values of ef written beside the first curve


def draw(data, knob, path):
    figure, axes = pyplot.subplots(figsize=(9, 6))
    for i, run in enumerate(data["knobs"][knob]):
        points = run["points"]
        label = (f"{knob} {run['value']}: {run['memory_bytes'] / 1e6:.0f} MB, built in "
                 f"{run['build_cpu_s']:.1f} s of CPU")
        line, = axes.plot([p["recall"] for p in points], [1e6 / p["us"] for p in points],
                          marker=".", label=label, color=f"C{i}")
        for p in points:
            if i == 0 and p["ef"] in LABELLED:
                axes.annotate(f"ef {p['ef']}", (p["recall"], 1e6 / p["us"]), fontsize=8,
                              xytext=(4, 6), textcoords="offset points", color=line.get_color())
    axes.set(xlabel="recall@10 (each dot an ef, from 10 to 480)",
             ylabel="queries/s on one core (of the median call)", yscale="log",
             title=f"{data['data']}: what {knob} changes")
    plot.plain_numbers(axes)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        data = json.load(f)
    stem = os.path.splitext(sys.argv[1])[0]
    for knob in data["knobs"]:
        draw(data, knob, f"{stem}.{knob}.png")
        print(f"{stem}.{knob}.png")


if __name__ == "__main__":
    main()
