"""A picture of how a training went."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

_PANELS = (
    ("Loss", {"error": "log error", "angle": "log angle"}),
    ("Validation beside interpolation", {"validation_error": "error", "validation_angle": "spectral angle"}),
)


def draw_curves(log: Path, picture: Path) -> None:
    """Draw the columns of a training log over its iterations, into a PNG."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(10, 4), layout="constrained")
    for place, (title, columns) in enumerate(_PANELS, 1):
        axes = figure.add_subplot(1, 2, place, title=title, xlabel="iteration")
        for column, label in columns.items():
            axes.plot([int(row["iteration"]) for row in rows], [float(row[column]) for row in rows], label=label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=100)
