"""Real scenes that are learned from at full resolution: what is known of each before its first tile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from rasterio.errors import RasterioError
from scipy.optimize import lsq_linear
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.errors import ClippanError, InputError, ModelError
from clippan_cli.fusion.method import Fitted, Method, Statistics
from clippan_cli.fusion.moments import Moments
from clippan_cli.fusion.traits import FEATURES, Traits, from_moments
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.statistics import gather
from clippan_cli.opening.survey import common_box
from clippan_cli.physics.pixels import Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.find import SceneFiles, find_all
from clippan_cli.supervision.projector import linear_map
from clippan_cli.training.data.learned_scene import check_sensor, open_to_learn

SIDE = 224
"""The PAN pixels a side of a tile: as many as CLIP looks at."""

_PERCENTILES = (0.01, 0.99)
_HELD_SCENES = 5
_HELD_SHARE = 5
_LEAST = 20
_LEAST_WIDTH = 0.05


@dataclass(frozen=True)
class Geometry:
    """The sizes of a tile, the same for all of a batch.

    Args:
        ms: The number of MS pixels a side.
        pan: The number of PAN pixels a side.
    """

    ms: int
    pan: int

    @classmethod
    def of(cls, ratio: tuple[float, float], side: int) -> Geometry:
        """Return the sizes for at least ``side`` PAN pixels; a multiple of 8, as networks ask.

        SSIM needs room in MS pixels, borders aside.
        """
        pan = 8 * math.ceil(max(side, _LEAST * max(ratio)) / 8)
        return cls(math.ceil(pan / min(ratio)), pan)

    @classmethod
    def within(cls, ratio: tuple[float, float], side: int, shape: tuple[int, int]) -> Geometry:
        """Return the sizes for ``side`` PAN pixels, or for as many as ``shape``, in MS pixels, has room for."""
        return cls.of(ratio, min(side, 8 * int(min(ratio) * min(shape) // 8)))


@dataclass(frozen=True, kw_only=True)
class Site:
    """A scene that is learned from, and what is known of it before its first tile.

    Args:
        files: Where the scene lies.
        options: What is said of the scene.
        sensor: The id of its sensor.
        wavelengths: The centres of its bands, in nanometres; None where unknown.
        tile: The sizes of its tiles.
        sampling: Where MS lies on PAN.
        scale: The DN of one scene unit.
        pan_shape: The height and the width of PAN, in pixels.
        learned: The MS pixels that tiles are taken from; None where the scene is only validated on.
        held: The MS pixels that are validated on; None where the scene is only learned from.
        low: ``(C + 1,)`` in scene units, what is dark in MS and in PAN.
        high: ``(C + 1,)`` in scene units, what is bright in MS and in PAN.
        mixture: ``(C + 1,)``, non-negative weights of the MS bands in PAN, and a constant.
        mean: ``(C,)``, the mean of each MS band, in scene units.
        covariance: ``(C, C)``, the covariance of the MS bands.
        traits: The scene's traits, as networks ask for them.
        fitted: The methods that know the scene, by their names.
    """

    files: SceneFiles
    options: SceneOptions
    sensor: str
    wavelengths: tuple[float | None, ...]
    tile: Geometry
    sampling: Sampling
    scale: float
    pan_shape: tuple[int, int]
    learned: Box | None
    held: Box | None
    low: Tensor
    high: Tensor
    mixture: Tensor
    mean: Tensor
    covariance: Tensor
    traits: Traits
    fitted: Mapping[str, Fitted]

    @property
    def kind(self) -> tuple[str, tuple[float, float], Geometry]:
        """What the scenes of a batch have in common."""
        return self.sensor, self.sampling.ratio, self.tile

    def channels(self, kind: str) -> tuple[Tensor, Tensor]:
        """Return how its bands, stretched, become three channels: matrix ``(3, C)`` and offset ``(3,)``."""
        low, width = self.low[:-1], (self.high - self.low)[:-1]
        mean, covariance = (self.mean - low) / width, self.covariance / (width[:, None] * width)
        return linear_map(kind, self.wavelengths, mean, covariance)


def survey_scenes(
    places: Sequence[str], side: int, methods: Mapping[str, Method], options: SceneOptions, hears: Listener
) -> list[Site]:
    """Survey every scene and fit the methods to it; what cannot be used is left out, and said.

    Args:
        places: Folders of scenes, lists, or collections.
        side: The number of PAN pixels a side of a tile, where scenes have room for it.
        methods: The methods to fit, by their names.
        options: What is said of the scenes.
        hears: Hears of progress.

    Raises:
        InputError: No scene can be used, or they have different numbers of bands.
        UsageError: There is no such sensor.
    """
    check_sensor(options)
    found = find_all(places)
    hold = len(found) >= _HELD_SCENES
    sites: list[Site] = []
    hears.begin("surveying scenes", len(found))
    for scene in found:
        part = None if not hold else len(sites) % _HELD_SHARE == _HELD_SHARE - 1
        try:
            sites.append(_survey(scene, side, methods, options, part))
        except ModelError:
            raise
        except (RasterioError, ClippanError, OSError, ValueError) as error:
            hears.warn(f"scene {scene.name} is left out: {error}")
        hears.advance(1)
    if not sites:
        raise InputError(f"none of the {len(found)} scenes can be used", "the warnings say why")
    if len({len(site.wavelengths) for site in sites}) > 1:
        listed = ", ".join(f"{site.files.name}: {len(site.wavelengths)}" for site in sites[:12])
        raise InputError(f"the scenes have different numbers of bands: {listed}", "train a model for each number")
    if hold and len(sites) > 1 and not any(site.held for site in sites):
        # Too many were left out.
        sites[-1] = replace(sites[-1], learned=None, held=sites[-1].learned)
    if not any(site.learned for site in sites):
        raise InputError(
            "no scene has room for a tile besides those that are validated on",
            "give larger scenes, or more of them",
        )
    if not any(site.held for site in sites):
        hears.warn("the scenes are too small to keep a part of them aside: validation is on what is learned from")
        sites = [replace(site, held=site.learned) for site in sites]
    kinds = Counter(f"{site.sensor}, ratio {site.sampling.ratio[0]:.4g}" for site in sites)
    hears.say("scenes: " + "; ".join(f"{count} of {kind}" for kind, count in kinds.items()))
    return sites


def _survey(
    files: SceneFiles, side: int, methods: Mapping[str, Method], options: SceneOptions, held: bool | None
) -> Site:
    with open_to_learn(files, options) as scene:
        pair, known = scene.pair, scene.known
        whole = common_box(pair)
        rows, cols = whole.shape
        # A scene that is alone gives tiles to learn from and, below them, others to validate on.
        tile = Geometry.within(pair.sampling.ratio, side, (rows // 2 if held is None else rows, cols))
        learned, kept = _parts(whole, tile.ms, held)
        features = {*FEATURES, *(name for method in methods.values() for name in method.features)}
        # Over the samples of the survey, not over all of a large scene: they are enough to fit a method.
        moments = gather(scene, sorted(features), cores=[sample.ms_box for sample in known.samples])
        optics = pair.sensor.optics([band.name for band in pair.ms.bands])
    statistics = Statistics(known.sampling, moments, known.samples)
    low, high = stretch(known.samples)
    return Site(
        files=files,
        options=options,
        sensor=pair.sensor.id,
        wavelengths=tuple(band.wavelength for band in optics),
        tile=tile,
        sampling=known.sampling,
        scale=known.scale,
        pan_shape=pair.pan.grid.shape,
        learned=learned,
        held=kept,
        low=low,
        high=high,
        mixture=mixture(moments),
        mean=torch.from_numpy(moments.mean("ms")).float(),
        covariance=torch.from_numpy(moments.covariance("ms", "ms")).float(),
        traits=from_moments(moments, known.sampling),
        fitted={name: method.fit(statistics) for name, method in methods.items()},
    )


def _parts(whole: Box, side: int, held: bool | None) -> tuple[Box | None, Box | None]:
    """Return where to learn and where to validate: all of a scene, or its upper part and its lowest fifth."""
    if min(whole.shape) < side:
        raise InputError(f"MS of {whole.shape[1]} × {whole.shape[0]} px has no room for a tile of {side}", "")
    if held is not None:
        return (None, whole) if held else (whole, None)
    below = max(side, whole.shape[0] // _HELD_SHARE)
    if whole.shape[0] < below + side:
        return whole, None
    upper, lower = whole.pieces(whole.shape[0] - below, whole.shape[1])
    return upper, lower


def stretch(samples: Sequence[Window]) -> tuple[Tensor, Tensor]:
    """Return the dark and the bright end of each MS band and of PAN, each ``(C + 1,)``, where they are valid."""
    bands = range(len(samples[0].ms.values))
    planes = [torch.cat([sample.ms.known(band) for sample in samples]) for band in bands]
    planes.append(torch.cat([sample.pan.known() for sample in samples]))
    ends = torch.from_numpy(np.array([np.quantile(plane.numpy(), _PERCENTILES) for plane in planes], np.float32))
    # A band without contrast must not be stretched into noise.
    least = _LEAST_WIDTH * float((ends[:, 1] - ends[:, 0]).max()) + 1e-6
    return ends[:, 0], torch.maximum(ends[:, 1], ends[:, 0] + least)


def mixture(moments: Moments) -> Tensor:
    """Fit φ: non-negative weights that make PAN, as the MS bands see it, from them, and a constant: ``(C + 1,)``."""
    variance = moments.covariance("ms", "ms")
    shared = moments.covariance("ms", "pan_low").mean(1)
    factor = np.linalg.cholesky(variance + (1e-9 * np.trace(variance) + 1e-12) * np.eye(len(variance)))
    weights = lsq_linear(factor.T, np.linalg.solve(factor, shared), (0, np.inf)).x
    constant = moments.mean("pan_low").mean() - weights @ moments.mean("ms")
    return torch.from_numpy(np.append(weights, constant)).float()
