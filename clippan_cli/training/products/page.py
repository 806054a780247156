"""The page of a training: its curves, and what became of a tile as it went on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2
import torch
from matplotlib.image import imsave
from torch import Tensor

from clippan_cli.training.data.full_tiles import Tiles
from clippan_cli.training.loop.curves import CURVES

PAGE, PICTURES = "training.html", "pictures"

_MOST = 6
_GAP = 4
_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right } th { font-weight: 600 }
tr > :first-child { text-align: left } img { max-width: 100%; image-rendering: pixelated }
figure { margin: 1.2rem 0 } figcaption { color: #666 }
</style></head><body>
<h1>{{ name }}</h1>
{% if kept is not none %}<p><strong>{% if kept %}Kept: iteration {{ kept }}, the best before the truth.
{% else %}Nothing was better, before the truth, than what the training began with: that is what was kept.
{% endif %}</strong></p>{% endif %}
<h2>Before the truth, and beside formulas, on what was kept aside</h2>
<table><tr><th></th>{% for index in indices %}<th>{{ index }}</th>{% endfor %}</tr>
{% for method, row in rows.items() %}<tr><td>{{ method }}</td>
{% for index in indices %}<td>{{ "%.4f" % row[index] }}</td>{% endfor %}</tr>
{% endfor %}</table>
<p>ERGAS (percent) and SAM (degrees) are errors: one scale down, where the measured MS is the truth, through optics that
the network is not told; the less the better. They choose what is kept. “above start”: how far the worse of the two lies
above that of the start, as a logarithm, its standard error added; below 0 it is better.</p>
<p>The others are of full resolution, where there is no truth. HQNR: the more the better; D_ρ and R-ERGAS: the less the
better; an image can be better in all three and worse in truth. “exp” is plain interpolation.</p>
<h2>Curves</h2>
<figure><img src="data:image/png;base64,{{ curves }}" alt="losses and validation over the iterations"></figure>
<h2>One tile</h2>
{% for iteration, picture in pictures %}<figure><img src="data:image/png;base64,{{ picture }}" alt="">
<figcaption>after {{ iteration }} iterations: MS interpolated, fused, PAN</figcaption></figure>
{% endfor %}</body></html>
"""


def draw_tile(out: Tensor, tiles: Tiles, path: Path) -> None:
    """Draw interpolated MS, the fused image and PAN of the first tile, side by side, into a PNG.

    Args:
        out: ``(C, H, W)``, the fused image.
        tiles: The tiles of which the first was fused.
        path: The file to write, its folder made if need be.
    """
    # As the supervisor begins: RGB where the bands are known, else principal components.
    matrix, offset = tiles.sites[0].channels("conv")
    panels = [
        torch.einsum("kc,chw->khw", matrix, tiles.bands(x[None])[0].cpu()) + offset[:, None, None]
        for x in (tiles.ms_up[0], out)
    ]
    panels.append(tiles.pans(tiles.pan[:1])[0].cpu().expand(3, -1, -1))
    gap = torch.ones(3, out.shape[1], _GAP)
    row = torch.cat([part for panel in panels for part in (panel.clamp(0, 1), gap)][:-1], 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, row.permute(1, 2, 0).numpy())


def pictures(folder: Path) -> list[Path]:
    """List the pictures of a training, in order; their names are iterations."""
    return sorted(path for path in (folder / PICTURES).glob("*.png") if path.stem.isdigit())


def draw_page(folder: Path, rows: Mapping[str, Mapping[str, float]], kept: int | None = None) -> None:
    """Write the page anew: it needs no other file.

    Args:
        folder: The folder of the training, with its pictures.
        rows: The indices of everything that is compared, by its name.
        kept: The iteration that was kept, 0 for the start; None as long as that is open.
    """
    found = pictures(folder)
    chosen = [found[round(i)] for i in torch.linspace(0, len(found) - 1, min(_MOST, len(found))).tolist()]
    text = (
        jinja2.Environment(autoescape=True)
        .from_string(_HTML)
        .render(
            name=folder.resolve().name,
            indices=list(next(iter(rows.values()))),
            rows=rows,
            kept=kept,
            curves=_inline(folder / CURVES),
            pictures=[(int(path.stem), _inline(path)) for path in chosen],
        )
    )
    (folder / PAGE).write_text(text, "utf-8")


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
