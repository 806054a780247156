"""N bands as the three channels that CLIP looks at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clippan_cli.errors import UsageError
from clippan_cli.supervision.forms import DIFFERENCES, check_input

_COLOURS = {"rgb": (660.0, 560.0, 480.0), "gbnir": (560.0, 480.0, 850.0)}
_FARTHEST = 90.0
_USUAL = {
    3: (660.0, 560.0, 480.0),
    4: (480.0, 560.0, 660.0, 850.0),
    8: (430.0, 480.0, 545.0, 605.0, 660.0, 725.0, 835.0, 950.0),
}
_DEVIATIONS = 5.0
_AMPLIFIED, _GREY = 2.0, 0.5
_DARKEST, _BRIGHTEST = -1.0, 2.0
_WIDTH, _GROUPS = 32, 8


class Differences(nn.Module):
    """Shows each band by itself: the band, what it has beyond MS, and what it has beyond PAN.

    It serves any number of bands, and has no weights.
    """

    kind = DIFFERENCES
    bands = 0

    def forward(self, image: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """Return ``(B, C, 3, H, W)``, a picture for each band, of images ``(B, C, H, W)`` beside MS and PAN."""
        detail = _AMPLIFIED * (image - ms) + _GREY
        shown = torch.stack([image, detail, image - pan + _GREY], 2)
        return shown.clamp(_DARKEST, _BRIGHTEST)

    def show_pan(self, pan: Tensor, ms: Tensor) -> Tensor:
        """Return the same of PAN ``(B, 1, H, W)`` in place of all bands."""
        shown: Tensor = self(pan.expand_as(ms), ms, pan)
        return shown


class Projector(nn.Module):
    """Applies a fixed linear map, and with ``conv`` a small network added to it that begins at zero.

    One projector serves MS and HRMS: two could please the directional loss by themselves.

    Args:
        kind: The way to make three channels, one of :data:`~clippan_cli.supervision.forms.INPUTS`.
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

    @property
    def bands(self) -> int:
        """The number of MS bands that it shows."""
        return int(self.matrix.shape[1])

    def forward(self, image: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """Return one picture ``(B, 1, 3, H, W)`` in 0 … 1 of images ``(B, C, H, W)``; it shows neither MS nor PAN.

        Args:
            image: The bands, 0 and 1 their dark and their bright end.
            ms: The interpolated MS.
            pan: PAN.
        """
        made = torch.einsum("kc,bchw->bkhw", self.matrix, image) + self.offset[:, None, None]
        if self.learned is not None:
            made = made + self.learned(image)
        return made.clamp(0, 1)[:, None]

    def show_pan(self, pan: Tensor, ms: Tensor) -> Tensor:
        """Return PAN ``(B, 1, H, W)`` as a grey picture."""
        return pan.clamp(0, 1).expand(-1, 3, -1, -1)[:, None]


Shown = Differences | Projector
"""How images are shown to CLIP."""


def linear_map(
    kind: str, wavelengths: Sequence[float | None], mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the fixed part: matrix ``(3, C)`` and offset ``(3,)``.

    Args:
        kind: The way, one of :data:`~clippan_cli.supervision.forms.INPUTS` but differences; ``conv`` begins at RGB
            where the bands are known, else at PCA.
        wavelengths: The wavelength of each band in nanometres; None where unknown: then the usual order is assumed.
        mean: The mean of the bands, ``(C,)``.
        covariance: The covariance of the bands, ``(C, C)``.

    Raises:
        UsageError: There is no such kind, or no band near a colour that it takes.
    """
    check_input(kind)
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
