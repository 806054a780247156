"""A picture of how a training went."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

CURVES = "training.png"


def draw_curves(log: Path, picture: Path) -> None:
    """Draw a training log into a PNG: each index of the validation, then the losses together."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    middle = columns.index("gradient")
    panels = [*((name.replace("_", " "), [name]) for name in columns[middle + 1 :]), ("losses", columns[3:middle])]
    figure = Figure(figsize=(4.5 * len(panels), 4))
    figure.subplots_adjust(left=0.25 / len(panels), right=1 - 0.1 / len(panels), wspace=0.25)
    for place, (title, shown) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place, title=title, xlabel="iteration")
        for name in shown:
            axes.plot([int(row["iteration"]) for row in rows], [float(row[name]) for row in rows], label=name)
        axes.grid(alpha=0.3)
        if len(shown) > 1:
            axes.legend()
    figure.savefig(picture, dpi=100)
