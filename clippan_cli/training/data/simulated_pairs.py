"""Training pairs with a truth: simulated from any image, or one scale down from real pairs (Wald)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from clippan_cli.base.geometry import Box, trim
from clippan_cli.errors import InputError
from clippan_cli.fusion.traits import as_context, from_pixels, stack_features
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.optics import STATED_ERROR, combine, expect_gain, softness_unit
from clippan_cli.physics.pixels import EVERYWHERE, Validity
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.simulation import degrade
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch

RATIOS = {2.0: 96, 3.0: 144, 4.0: 192, 6.0: 216}
"""The ratios that are trained at, and the side of a patch at each in PAN pixels."""

SIDE = max(RATIOS.values())
"""How many pixels a side a source must have."""

_RATIO_SHARES = (0.25, 0.1, 0.5, 0.15)
_BANDS = (3, 4, 4, 4, 6, 8)
_LOG_GAINS = (math.log(0.03), math.log(0.8))
_GAINS = (0.2, 0.25, 0.3, 0.3, 0.35, 0.4, 0.55)
_LEAST_ZOOM, _MOST_ZOOM = 1.2, 2.6
_SHRINK = 0.05
_TRUTH_GAINS = (0.03, 0.85)
_PAN_GAINS = (0.05, 0.22)
_MOST_FOCUS, _FOCUS_REACH = 0.8, 8
_SEEN_ERRORS, _BAND_ERROR = (0.04, 0.2), 0.06
_COMPRESSED, _COARSEST = 0.2, 0.3
_BLOCK = 8
_TRIES = 100


@dataclass(frozen=True)
class Source:
    """Pixels to learn from.

    Args:
        name: What the record calls it.
        bands: ``(C, H, W)``, positive.
        pan: ``(H, W)``, PAN as seen at the same resolution; None where it has to be simulated.
        valid: ``(H, W)``, where pixels of both are valid.
        softness: How much softer than PAN the bands of a pair are.
    """

    name: str
    bands: Tensor
    pan: Tensor | None = None
    valid: Validity = EVERYWHERE
    softness: float = 0.0

    def to(self, device: torch.device) -> Source:
        """Move the pixels to a device."""
        pan = None if self.pan is None else self.pan.to(device)
        return replace(self, bands=self.bands.to(device), pan=pan, valid=self.valid.to(device))


Group = tuple[float, Sequence[Source]]
"""A share, and the sources that share it."""


def make_batch(groups: Sequence[Group], size: int, draw: Draw, bands: int | None = None) -> Batch:
    """Draw sources, degrade them, and describe the pairs.

    Args:
        groups: Where pixels come from; the batch is made on their device.
        size: The number of pairs.
        draw: The source of every random choice.
        bands: The number of MS bands; None to vary it.
    """
    ratio = list(RATIOS)[draw.pick(_RATIO_SHARES)]
    bands = bands or _BANDS[draw.below(len(_BANDS))]
    drawn = [_draw_scene(groups, bands, RATIOS[ratio], draw) for _ in range(size)]
    truth, pan = torch.stack([each[0] for each in drawn]), torch.stack([each[1] for each in drawn])
    softness = torch.tensor([each[2] for each in drawn])
    truth, pan = _vary_brightness(truth, pan, draw)
    phase, stated = _draw_phase(ratio, draw), _GAINS[draw.below(len(_GAINS))]
    gain = (math.log(stated) + STATED_ERROR * draw.normal(size)).clamp(*_LOG_GAINS)
    ms = _see_ms(truth, ratio, phase, gain, draw)
    pan = _compress(_add_noise(pan, 10 ** draw.uniform(-3.2, -2.0), draw), draw)
    gain, softness = _see_optics(stated, gain, softness, ratio, draw)
    sampling = Sampling.uniform((ratio, ratio), phase, tuple(gain.exp().repeat_interleave(bands).tolist()))
    return _describe(ms, pan, truth, sampling, softness)


def _see_optics(stated: float, gain: Tensor, softness: Tensor, ratio: float, draw: Draw) -> tuple[Tensor, Tensor]:
    """Return what is believed of optics whose logarithmic gains, and softness, are known: ``(B,)`` each.

    What is stated errs, what pixels show is both together, and the network must live with what follows from it.
    """
    unit = softness_unit((ratio, ratio))
    sampling = Sampling.uniform((ratio, ratio), (0.0, 0.0), (stated,))
    error = draw.between(*_SEEN_ERRORS)
    seen = gain - softness * unit + error * draw.normal(len(gain))
    believed = [combine(math.log(stated), expect_gain(value, sampling), error) for value in seen.tolist()]
    told = torch.tensor(believed).clamp(*_LOG_GAINS)
    return told, (told - seen) / unit


def _vary_brightness(truth: Tensor, pan: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Make each band brighter or darker by chance, then scale truth and PAN to at most 1."""
    truth = truth * (0.4 * draw.normal(*truth.shape[:2], 1, 1)).exp().to(truth)
    top = torch.maximum(truth.amax((1, 2, 3)), pan.amax((1, 2, 3))) * (1 + draw.rand(len(truth))).to(truth)
    return truth / top[:, None, None, None], pan / top[:, None, None, None]


def _describe(ms: Tensor, pan: Tensor, truth: Tensor, sampling: Sampling, softness: Tensor) -> Batch:
    """Return the pairs with all that networks and losses are told of them."""
    batch, bands = ms.shape[:2]
    whole, small = Box.whole(pan.shape), Box.whole(ms.shape)
    operators = Operators(sampling, whole, small, device=ms.device)
    one = Operators(sampling.pick(range(0, batch * bands, bands)), whole, small, device=ms.device)
    low = one.down(pan[:, 0])
    features = stack_features(ms, low, small)
    gains = torch.tensor(sampling.gains).view(batch, bands)
    context = as_context(from_pixels(features, gains, softness), one.up(low)[:, None], sampling.ratio[0])
    ms_up = operators.up(ms.flatten(0, 1)).view_as(truth)
    return Batch(ms=ms, pan=pan, ms_up=ms_up, context=context, operators=operators, truth=truth)


def _draw_scene(groups: Sequence[Group], bands: int, side: int, draw: Draw) -> tuple[Tensor, Tensor, float]:
    """Draw truth ``(bands, side, side)``, PAN ``(1, side, side)`` before noise, and the softness of the truth."""
    source, image = _draw_square(groups, side, draw)
    if source.pan is None:
        truth, pan, softness = _simulate(image, bands, side, draw)
    else:
        truth, pan, softness = _complete_bands(image[:-1][:bands], bands, draw), image[-1:], source.softness
    truth, change = _refocus(truth, draw)
    pan, pan_change = _refocus(pan, draw)
    return _veil(truth, draw), _veil(pan, draw), softness + change - pan_change


def _simulate(image: Tensor, bands: int, side: int, draw: Draw) -> tuple[Tensor, Tensor, float]:
    """Make truth, PAN, and the softness of the truth from an image, as :func:`_draw_scene` says."""
    image = image / image.mean((1, 2), keepdim=True).clamp(min=1e-6)
    image = image[draw.order(len(image))].clamp(min=1e-4) ** draw.uniform(0.7, 1.5)
    ground = _complete_bands(image[:bands], bands, draw)
    hidden = image[bands:] if len(image) > bands else ground[-1:] ** draw.uniform(0.8, 1.4)
    pan = _mix_pan(ground, hidden, draw)
    # Both are samples of the same finer ground, each through optics of its own: aliased, as what sensors deliver.
    gain, pan_gain = draw.between(*_TRUTH_GAINS), draw.between(*_PAN_GAINS)
    truth, pan = _sample(ground, gain, side, draw), _sample(pan, pan_gain, side, draw)
    return truth, pan, math.log(pan_gain / gain) / math.pi**2


def _sample(ground: Tensor, gain: float, side: int, draw: Draw) -> Tensor:
    """Return the ground through optics of a gain that differs a little between bands: ``(C, side, side)``."""
    zoom = ground.shape[-1] / side
    gains = (gain * (0.1 * draw.normal(len(ground), 1)).exp()).clamp(0.01, 0.9)
    phase = torch.full((len(ground), 2), (zoom - 1) / 2)
    return degrade(ground, zoom, phase.to(ground), gains.expand(-1, 2).to(ground), (side, side))


def _complete_bands(image: Tensor, bands: int, draw: Draw) -> Tensor:
    """Return as many bands as are asked for: the image's, then mixtures; some are differences, as of NIR and red."""
    made = list(image[:bands])
    for _ in range(bands - len(made)):
        weights = draw.rand(len(image))
        if draw.chance(0.4):
            weights[draw.below(len(image))] *= -draw.uniform(0.3, 0.9)
        band = torch.einsum("c,chw->hw", (weights / weights.abs().sum()).to(image), image)
        band = (band - band.min()).clamp(min=0) + 0.02 * band.abs().mean()
        made.append(band ** draw.uniform(0.7, 1.4) * draw.uniform(0.3, 3.0))
    return torch.stack(made)


def _mix_pan(truth: Tensor, hidden: Tensor, draw: Draw) -> Tensor:
    """Return a PAN: a random response over some bands, a little of what no band sees, slightly bent."""
    weights = draw.rand(len(truth))
    weights[draw.order(len(truth))[: draw.below(max(1, len(truth) - 1))]] *= 0.05
    unit = truth / truth.mean((1, 2), keepdim=True).clamp(min=1e-6)
    pan = torch.einsum("c,chw->hw", (weights / weights.sum()).to(unit), unit)[None]
    if draw.chance(0.5):
        other = hidden[draw.below(len(hidden))][None]
        share = draw.uniform(0, 0.3)
        pan = (1 - share) * pan + share * other / other.mean().clamp(min=1e-6)
    return pan.clamp(min=1e-4) ** draw.uniform(0.85, 1.15)


def _refocus(x: Tensor, draw: Draw) -> tuple[Tensor, float]:
    """Return a third of all bands as they are, others resampled (softer) or restored (sharper); and how much softer.

    Each band differs a little. Linear resampling falls off faster than optics do, and restoration inverts such a fall.
    """
    if draw.chance(0.3):
        return x, 0.0
    amount = draw.uniform(-_MOST_FOCUS, _MOST_FOCUS)
    each = (amount + 0.1 * draw.normal(len(x), 1, 1)).clamp(-_MOST_FOCUS, _MOST_FOCUS).to(x)
    grown = F.pad(x[None], (_FOCUS_REACH,) * 4, mode="reflect")[0]
    wave = torch.sin(math.pi * torch.fft.fftfreq(grown.shape[-1], device=x.device)) ** 2
    fall = 1 - each.abs() * wave
    response = torch.where(each > 0, fall, 1 / fall)
    seen = torch.fft.ifft2(torch.fft.fft2(grown) * response.mT * response).real
    return trim(seen, _FOCUS_REACH).contiguous(), amount / 4


def _veil(x: Tensor, draw: Draw) -> Tensor:
    """Put half of all images under a veil of constant light."""
    if draw.chance(0.5):
        return x
    veil = draw.uniform(-0.5, 1.5) * draw.rand(len(x), 1, 1).to(x.device)
    low = x.amin((1, 2), keepdim=True)
    return x + torch.where(veil > 0, veil * x.mean((1, 2), keepdim=True), veil * low)


def _see_ms(truth: Tensor, ratio: float, phase: tuple[float, float], gain: Tensor, draw: Draw) -> Tensor:
    """Return MS through optics of logarithmic gains ``(B,)``: bands and phases a little off, noise, steps of grey."""
    batch, bands, *sides = truth.shape
    rows, cols = (int((side - 0.5 - first) / ratio) + 1 for side, first in zip(sides, phase, strict=True))
    off = _BAND_ERROR * draw.normal(batch, bands, 1) + 0.03 * draw.normal(batch, bands, 2)
    gains = (gain[:, None, None] + off).exp()
    slip = 0.03 * draw.normal(batch, 1, 2) + 0.02 * draw.normal(batch, bands, 2)
    slip = slip * torch.where(draw.rand(batch, 1, 1) < 0.1, 4.0, 1.0)
    phases = torch.tensor(phase) + ratio * slip
    ms = degrade(truth, ratio, phases.to(truth), gains.clamp(0.02, 0.85).to(truth), (rows, cols))
    return _compress(_add_noise(ms, 10 ** draw.uniform(-3.5, -2.0), draw), draw)


def _add_noise(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Add noise of ``level`` times the standard deviation, and round to 8 to 12 bits of grey."""
    deviation = x.std((-2, -1), keepdim=True)
    x = x + level * deviation * draw.normal(*x.shape).to(x.device)
    step = x.amax((-2, -1), keepdim=True).clamp(min=1e-6) / 2 ** (8 + draw.below(5))
    grey: Tensor = (x / step).round() * step
    return grey


def _compress(x: Tensor, draw: Draw) -> Tensor:
    """Round a fifth of all images in the cosine transform of blocks of 8² pixels, as lossy compression does."""
    if not draw.chance(_COMPRESSED):
        return x
    height, width = x.shape[-2:]
    grown = F.pad(x, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate")
    angle = math.pi / _BLOCK * torch.outer(torch.arange(_BLOCK), torch.arange(_BLOCK) + 0.5)
    cosines = (torch.cos(angle) * math.sqrt(2 / _BLOCK)).to(x)
    cosines[0] /= math.sqrt(2)
    rows, cols = (side // _BLOCK for side in grown.shape[-2:])
    blocks = grown.view(*x.shape[:-2], rows, _BLOCK, cols, _BLOCK).transpose(-3, -2)
    waves: Tensor = cosines @ blocks @ cosines.T
    # Fine waves are rounded more coarsely, as by the tables of JPEG.
    coarse = 1 + torch.arange(_BLOCK).to(x)[:, None] + torch.arange(_BLOCK).to(x)
    step = x.std((-2, -1), keepdim=True)[..., None, None] * 10 ** draw.uniform(-2.5, math.log10(_COARSEST)) / 4 * coarse
    waves = (waves / step).round() * step
    back: Tensor = (cosines.T @ waves @ cosines).transpose(-3, -2).reshape(grown.shape)
    return back[..., :height, :width].contiguous()


def _draw_phase(ratio: float, draw: Draw) -> tuple[float, float]:
    """Draw where the first MS pixel lies: nested, or anywhere in quarters of a PAN pixel."""
    if draw.chance(0.5):
        return (ratio - 1) / 2, (ratio - 1) / 2
    steps = int(4 * (ratio - 1)) + 1
    return draw.below(steps) / 4, draw.below(steps) / 4


def _draw_square(groups: Sequence[Group], side: int, draw: Draw) -> tuple[Source, Tensor]:
    """Draw a source and a square of it without gaps, turned somehow; of a pair PAN comes last."""
    for attempt in range(_TRIES):
        sources = groups[draw.pick([share for share, _ in groups])][1]
        source = sources[draw.below(len(sources))]
        whole = Box.whole(source.bands.shape)
        # Between gaps there may be room for a smaller square only.
        most = max(1.0, _MOST_ZOOM - _SHRINK * attempt)
        wanted = side if source.pan is not None else round(side * draw.uniform(min(_LEAST_ZOOM, most), most))
        wide = min(wanted, *whole.shape)
        box = draw.box(whole, (wide, wide))
        if not source.valid.cut(box, whole).simplified().everywhere:
            continue
        image = box.cut(source.bands, whole)
        if float(image.amax()) <= float(image.amin()):
            continue
        if source.pan is not None:
            image = torch.cat([image[draw.order(len(image))], box.cut(source.pan, whole)[None]])
        turned = torch.rot90(image, draw.below(4), (1, 2))
        return source, turned.flip(2) if draw.chance(0.5) else turned
    raise InputError(
        f"no square of {side} px with contrast and without gaps was found in {_TRIES} tries",
        "leave out images that are mostly nodata or of one colour",
    )


def margin(ratio: float) -> int:
    """Return how many PAN pixels at the edge of a patch are not judged."""
    return math.ceil(2 * ratio)
