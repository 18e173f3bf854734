"""Draws the dashboard's panels from a running Prometheus into an image. deploy/verify.sh runs it with its tools.

    python3 dashboard.py http://127.0.0.1:9090 dashboard.png

Queries, places, units and legends are the dashboard's own; how Grafana draws them is not shown. Needs matplotlib.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).parent.parent / "monitoring"))
from query import DASHBOARD, filled_in, get

SPAN_S = 600
STEP_S = 5
ROW_INCHES = 0.28
WIDTH_INCHES = 15

Series = list[tuple[str, list[float], list[float]]]


def ask(url: str, target: dict[str, Any], end_s: float) -> Series:
    """Returns (legend, minutes before the end, values) for each series of a panel's query, without points that are not numbers."""
    found = get(
        url,
        "query_range",
        query=filled_in(target["expr"]),
        start=str(end_s - SPAN_S),
        end=str(end_s),
        step=str(STEP_S),
    )
    series: Series = []
    for each in found["result"]:
        points = [(float(at), float(value)) for at, value in each["values"] if math.isfinite(float(value))]
        if points:
            labels = each["metric"]
            legend = re.sub(r"{{(\w+)}}", lambda match, labels=labels: labels.get(match[1], ""), target["legendFormat"])
            series.append((legend, [(at - end_s) / 60 for at, _ in points], [value for _, value in points]))
    return series


def worded(value: float, unit: str) -> str:
    """Returns a value with its unit, as short as in Grafana."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    return f"{value:.4g}{' s' if unit == 's' else ' req/s' if unit == 'reqps' else ''}"


def draw_heatmap(axes: Axes, series: Series) -> None:
    """Converts cumulative buckets to counts per bucket."""
    buckets = sorted((float(le), dict(zip(at, values, strict=True))) for le, at, values in series)
    times = sorted({at for _, values in buckets for at in values})
    rows = []
    below: dict[float, float] = {}
    for _, values in buckets:
        rows.append([max(values.get(at, 0.0) - below.get(at, 0.0), 0.0) for at in times])
        below = values
    axes.pcolormesh(times, range(len(buckets)), rows, cmap="Blues", shading="nearest")
    every = max(len(buckets) // 6, 1)
    axes.set_yticks(range(0, len(buckets), every), [f"{le:g} s" for le, _ in buckets][::every])


def draw(axes: Axes, panel: dict[str, Any], series: Series) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit", "none")
    axes.set_title(panel["title"], fontsize=8, loc="left")
    axes.tick_params(labelsize=6)
    if not series or panel["type"] == "stat":
        axes.axis("off")
        text = worded(series[0][2][-1], unit) if series else "no data"
        axes.text(
            0.5, 0.5, text, ha="center", va="center", fontsize=20 if series else 12, color="black" if series else "red"
        )
    elif panel["type"] == "heatmap":
        draw_heatmap(axes, series)
    else:
        for legend, at, values in series:
            axes.plot(at, values, linewidth=1, label=legend or " ")
        axes.yaxis.set_major_formatter(lambda value, _: worded(value, unit))
        top = max(value for _, _, values in series for value in values) or 1.0
        axes.set_ylim(-0.03 * top, 1.15 * top)  # what is 0 is seen as well
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)


def main(url: str, path: str) -> int:
    """Draws all panels and prints the names of empty ones. Returns the number of empty panels."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    n_rows = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels)
    figure = plt.figure(figsize=(WIDTH_INCHES, n_rows * ROW_INCHES), dpi=80)
    end_s = time.time()
    n_empty = 0
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - place["y"] / n_rows
        if panel["type"] == "row":
            figure.text(left + 0.005, top - 0.8 / n_rows, panel["title"], fontsize=11, weight="bold")
            continue
        series = [each for target in panel["targets"] for each in ask(url, target, end_s)]
        if not series:
            print("empty:", panel["title"])
            n_empty += 1
        bottom, height = top - (place["h"] - 1.1) / n_rows, (place["h"] - 2.4) / n_rows
        draw(figure.add_axes((left + 0.05, bottom, place["w"] / 24 - 0.06, height)), panel, series)
    figure.savefig(path)
    print(f"{len([each for each in panels if each['type'] != 'row']) - n_empty} panels with data, {n_empty} without")
    return n_empty


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
