"""Where training pixels come from: image files, real pairs, and nothing at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as Place
from torch import Tensor

from clippan_cli.base.listener import Listener
from clippan_cli.errors import ClippanError, InputError
from clippan_cli.fusion.traits import measured_softness, stated_softness
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import Scene
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Validity
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.find import WANTED, find_all
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.learned_scene import check_sensor, middle_box, open_to_learn
from clippan_cli.training.data.procedural import procedural
from clippan_cli.training.data.simulated_pairs import SIDE, Source

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2")

_LARGEST = 1024
_PROCEDURAL = (6, 448)


def procedural_sources(count: int, seed: int) -> list[Source]:
    """Images made from nothing."""
    bands, side = _PROCEDURAL
    return [Source(f"procedural {i}", procedural(bands, side, Draw(seed * 100_003 + i))) for i in range(count)]


def image_sources(folders: Iterable[str], seed: int, hears: Listener) -> list[Source]:
    """A window of each image in the folders and their sub-folders.

    Raises:
        InputError: There is none that can be used.
    """
    found = []
    draw = Draw(seed)
    for path in _images(folders):
        try:
            found.append(_image(path, draw))
        except (RasterioError, ClippanError) as error:
            hears.warn(f"{path} is left out: {error}")
    if not found:
        raise InputError(
            f"no image to learn from in {', '.join(map(str, folders))}",
            f"it takes files of {', '.join(SUFFIXES)} with three or more bands and {SIDE} px a side",
        )
    return found


def pair_sources(folders: Sequence[str], options: SceneOptions, hears: Listener) -> list[Source]:
    """Take real pairs one scale down, whose truth is the measured MS.

    Raises:
        InputError: There is none that can be used.
    """
    found = []
    check_sensor(options)
    for files in find_all(folders):
        try:
            with open_to_learn(files, options) as scene:
                found.append(_pair(files.name, scene))
        except (RasterioError, ClippanError) as error:
            hears.warn(f"scene {files.name} is left out: {error}")
    if not found:
        raise InputError(f"no scene to learn from in {', '.join(map(str, folders))}", WANTED)
    return found


def _images(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(f"{folder} is no folder", "give a folder with images")
        yield from sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)


def _image(path: Path, draw: Draw) -> Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            if file.count < 3 or min(file.shape) < SIDE:
                raise InputError(f"{file.count} bands of {file.width} × {file.height} px", "")
            height, width = (min(size, _LARGEST) for size in file.shape)
            top = draw.below(file.height - height + 1)
            left = draw.below(file.width - width + 1)
            place = Place(left, top, width, height)
            colours = [i for i, meaning in zip(file.indexes, file.colorinterp, strict=True) if meaning.name != "alpha"]
            pixels = torch.from_numpy(file.read(colours, window=place).astype(np.float32))
            valid = torch.from_numpy(file.dataset_mask(window=place) > 0) & torch.isfinite(pixels).all(0)
    return _source(path.name, pixels, None, valid)


def _pair(name: str, scene: Scene) -> Source:
    known, box = scene.known, middle_box(scene)
    if min(box.shape) < SIDE:
        raise InputError(f"MS of {box.shape[1]} × {box.shape[0]} px is too small", "")
    alone = Sampling.uniform(known.sampling.ratio, known.sampling.centre, (known.sampling.pan_gain,))
    pan_box = alone.pan_box(box, alone.down_reach + 1, scene.pair.pan.grid.shape)
    window = scene.read(box, pan_box)
    operators = Operators(alone, pan_box, box)
    seen = operators.sees_only(window.pan.valid.of(window.pan.values)[None])[0]
    valid = seen & window.ms.valid.joint().of(seen)
    ms, pan = window.ms.values, operators.down(window.pan.values[None])[0]
    softness = measured_softness(ms, pan, Validity(valid), stated_softness(known.sampling))
    return _source(name, ms, pan, valid, softness)


def _source(name: str, bands: Tensor, pan: Tensor | None, valid: Tensor, softness: float = 0.0) -> Source:
    if not bool(valid.any()):
        raise InputError("no pixel is valid", "")
    top = float(bands[:, valid].abs().max())
    if top <= 0:
        raise InputError("all pixels are 0", "")
    whole = None if bool(valid.all()) else valid
    bands = torch.where(valid, bands, 0) / top
    return Source(name, bands, None if pan is None else torch.where(valid, pan, 0) / top, whole, softness)
