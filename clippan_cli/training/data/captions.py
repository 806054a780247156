"""What there is to say of an image, in varied English: its kind, or what is wrong with it, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from clippan_cli.training.data.damages import Damage
from clippan_cli.training.data.draw import Draw

_OF_KINDS = {
    "ms": (
        "a multispectral image",
        "a multispectral image, interpolated to the grid of PAN",
        "MS as measured: true colours without details",
        "the coarse multispectral image, not sharpened",
        "plain interpolation, blurred by the optics of MS",
    ),
    "pan": (
        "a panchromatic image",
        "PAN: grey, sharp, without colour",
        "the panchromatic band in place of the colours",
        "a grey image with all details and no colours",
    ),
    "hrms": (
        "High-quality reference image adhering to Wald's protocol: spectrally consistent with original data and "
        "spatially sharp",
        "High-quality reference image adhering to Khan's protocol: the multispectral image is what remains when its "
        "details are filtered out, and its details are those of the panchromatic image",
        "a reference image: as sharp as PAN, with the colours of MS",
        "what the sensor would measure at the resolution of PAN",
        "a perfect pansharpened image",
        "a sharp and faithful satellite image, without any artefact",
        "the truth: true colours, true details",
        "a fused product of the MS and PAN images",
    ),
    "distorted": (
        "a distorted image: blurred, over-sharpened or with wrong colours",
        "a poor fusion, far from the truth",
        "an image with large errors",
        "a failed pansharpening, its details or its colours are wrong",
        "a bad fused image, unlike what the sensor would measure",
        "a product with strong artefacts",
    ),
}
_SUBJECTS = (
    "a fused image",
    "a pansharpened image",
    "this fusion",
    "the sharpened multispectral image",
    "a satellite image fused from MS and PAN",
)
_ERRORS = ("error", "relative error", "difference from the truth")
_DEGREES = (("slightly ", "a little "), ("", "clearly ", "visibly "), ("strongly ", "heavily ", "badly "))
_SAID = {
    "blur": ("{much}blurred, by a Gaussian of sigma {x:.1f} PAN pixels", "{much}out of focus, sigma {x:.1f} pixels"),
    "details lack": ("{much}too soft, {left} percent of the details", "only {left} percent of the details of PAN"),
    "over-sharpened": ("{much}over-sharpened, by {part} percent", "edges {much}too hard, {part} percent too much"),
    "PAN": ("{much}too much of PAN, {part} percent more details in all bands", "too much detail, {part} percent"),
    "colours": ("{much}wrong colours, off by {part} percent", "colours that differ by {part} percent from MS"),
    "haze": ("{much}shifted brightness, as under haze", "levels off by {part} percent of the contrast"),
    "details move": ("details {much}misplaced, by {x:.1f} MS pixels", "a shift of {x:.1f} MS pixels"),
    "bands move": ("{much}misregistered bands, by {x:.1f} MS pixels", "coloured edges, bands {x:.1f} pixels apart"),
    "noise": ("{much}noisy, noise of {part} percent of the contrast", "{part} percent of noise"),
    "ringing": ("{much}ringing, halos around edges", "halos of {part} percent along edges"),
    "blocks": ("stairs at edges, blocks of {x:.0f} PAN pixels", "aliased, blocky"),
    "grey": ("details {much}without colours, grey as PAN", "{part} percent of its colours in details lost"),
}


def say_kind(kind: str, draw: Draw) -> str:
    """Say of which of :data:`~clippan_cli.supervision.prompts.KINDS` an image is."""
    return _pick(_OF_KINDS[kind], draw)


def say_damage(damage: Damage, draw: Draw) -> str:
    """Say what is wrong with an image."""
    degree = _DEGREES[0 if damage.share < 1 / 6 else 1 if damage.share < 1 / 2 else 2]
    x = damage.amount
    said = _pick(_SAID[damage.way], draw).format(
        much=_pick(degree, draw), x=x, part=round(100 * x), left=round(100 * (1 - x))
    )
    return f"{_pick(_SUBJECTS, draw)}: {said}"


def say_error(error: float, draw: Draw) -> str:
    """Say how far an image is from the truth, as a share of the contrast."""
    return f"{_pick(_SUBJECTS, draw)}, {_pick(_ERRORS, draw)} {max(1, round(100 * error))} percent"


def _pick(words: Sequence[str], draw: Draw) -> str:
    return words[draw.below(len(words))]
