"""N bands as the three channels that CLIP looks at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clippan_cli.errors import UsageError

INPUTS = ("conv", "pca", "rgb", "gbnir")
"""The ways to make three channels (CLIPPan's Table 4); the first learns, the others are fixed."""

_COLOURS = {"rgb": (660.0, 560.0, 480.0), "gbnir": (560.0, 480.0, 850.0)}
_FARTHEST = 90.0
_USUAL = {
    3: (660.0, 560.0, 480.0),
    4: (480.0, 560.0, 660.0, 850.0),
    8: (430.0, 480.0, 545.0, 605.0, 660.0, 725.0, 835.0, 950.0),
}
_DEVIATIONS = 5.0
_WIDTH, _GROUPS = 32, 8


class Projector(nn.Module):
    """Applies a fixed linear map, and with ``conv`` a small network added to it that begins at zero.

    One projector serves MS and HRMS: two could please the directional loss by themselves.

    Args:
        kind: The way to make three channels, one of :data:`INPUTS`.
        matrix: The linear part, ``(3, C)``.
        offset: The values added to it, ``(3,)``.
    """

    matrix: Tensor
    offset: Tensor

    def __init__(self, kind: str, matrix: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", offset)
        self.learned = _residual(matrix.shape[1]) if kind == "conv" else None

    def forward(self, x: Tensor) -> Tensor:
        """Turn bands ``(B, C, H, W)``, 0 and 1 their dark and bright end, into channels ``(B, 3, H, W)`` in 0 … 1."""
        made = torch.einsum("kc,bchw->bkhw", self.matrix, x) + self.offset[:, None, None]
        if self.learned is not None:
            made = made + self.learned(x)
        return made.clamp(0, 1)


def linear_map(
    kind: str, wavelengths: Sequence[float | None], mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the fixed part: matrix ``(3, C)`` and offset ``(3,)``.

    Args:
        kind: The way, one of :data:`INPUTS`; ``conv`` begins at RGB where the bands are known, else at PCA.
        wavelengths: The wavelength of each band in nanometres; None where unknown: then the usual order is assumed.
        mean: The mean of the bands, ``(C,)``.
        covariance: The covariance of the bands, ``(C, C)``.

    Raises:
        UsageError: There is no such kind, or no band near a colour that it takes.
    """
    if kind not in INPUTS:
        raise UsageError(f"unknown MS input {kind!r}", "known: " + ", ".join(INPUTS))
    if kind == "pca":
        return _principal(mean, covariance)
    chosen = _nearest(_COLOURS["gbnir" if kind == "gbnir" else "rgb"], wavelengths)
    if chosen is None:
        if kind == "conv":
            return _principal(mean, covariance)
        raise UsageError(
            f"no bands for `ms_input={kind}` among the {len(wavelengths)} of MS", "`ms_input=pca` needs no wavelengths"
        )
    return torch.eye(len(wavelengths))[chosen], torch.zeros(3)


def _nearest(colours: Sequence[float], wavelengths: Sequence[float | None]) -> list[int] | None:
    """Find the band nearest to each colour; None where one has none near."""
    known = list(wavelengths) if all(wavelengths) else list(_USUAL.get(len(wavelengths), ()))
    if not known:
        return None
    apart = [[abs((length or 0.0) - colour) for length in known] for colour in colours]
    chosen = [row.index(min(row)) for row in apart]
    near = all(row[index] <= _FARTHEST for row, index in zip(apart, chosen, strict=True))
    return chosen if near and len(set(chosen)) == len(chosen) else None


def _principal(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first three components, 0 … 1 over five standard deviations; those that lack are grey.

    A single band is grey as a whole.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    order = values.argsort(descending=True)[:3].tolist()
    matrix = torch.zeros(3, len(mean), dtype=torch.float64)
    for row, index in enumerate(order if len(order) > 1 else 3 * order):
        vector = vectors[:, index]
        # A component has no sign of its own: the brighter the more.
        matrix[row] = vector * vector.sum().sign() / (_DEVIATIONS * values[index].clamp(min=1e-12).sqrt())
    return matrix.float(), (0.5 - matrix @ mean.double()).float()


def _residual(bands: int) -> nn.Sequential:
    last = nn.Conv2d(_WIDTH, 3, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(
        nn.Conv2d(bands, _WIDTH, 1),
        nn.GroupNorm(_GROUPS, _WIDTH),
        nn.ReLU(),
        nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
        nn.GroupNorm(_GROUPS, _WIDTH),
        nn.ReLU(),
        last,
    )
