"""Where training pixels come from: image files, real pairs, and nothing at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as Place
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.errors import ClippanError, InputError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.scene import Scene
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Validity
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.find import WANTED, find_all
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.learned_scene import LARGEST, check_sensor, middle_box, open_to_learn
from clippan_cli.training.data.procedural import procedural
from clippan_cli.training.data.simulated_pairs import SIDE, Source

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2")

_PROCEDURAL = (6, 448)


def procedural_sources(count: int, seed: int) -> list[Source]:
    """Make images from nothing."""
    bands, side = _PROCEDURAL
    return [Source(f"procedural {i}", procedural(bands, side, Draw(seed * 100_003 + i))) for i in range(count)]


def image_sources(folders: Iterable[str], seed: int, hears: Listener) -> list[Source]:
    """Read a window of each image in the folders and their sub-folders.

    Raises:
        InputError: There is none that can be used.
    """
    found = []
    draw = Draw(seed)
    for path in _list_images(folders):
        try:
            found.append(_read_image(path, draw))
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
                found.append(_read_pair(files.name, scene))
        except (RasterioError, ClippanError) as error:
            hears.warn(f"scene {files.name} is left out: {error}")
    if not found:
        raise InputError(f"no scene to learn from in {', '.join(map(str, folders))}", WANTED)
    return found


def _list_images(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(f"{folder} is no folder", "give a folder with images")
        yield from sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)


def _read_image(path: Path, draw: Draw) -> Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            if file.count < 3 or min(file.shape) < SIDE:
                raise InputError(f"{file.count} bands of {file.width} × {file.height} px", "")
            box = draw.box(Box.whole(file.shape), [min(size, LARGEST) for size in file.shape])
            place = Place.from_slices(*box)
            colours = [i for i, meaning in zip(file.indexes, file.colorinterp, strict=True) if meaning.name != "alpha"]
            pixels = torch.from_numpy(file.read(colours, window=place).astype(np.float32))
            valid = torch.from_numpy(file.dataset_mask(window=place) > 0) & torch.isfinite(pixels).all(0)
    return _make_source(path.name, Pixels(pixels, Validity(valid)))


def _read_pair(name: str, scene: Scene) -> Source:
    known, box = scene.known, middle_box(scene)
    if min(box.shape) < SIDE:
        raise InputError(f"MS of {box.shape[1]} × {box.shape[0]} px is too small", "")
    alone = Sampling.uniform(known.sampling.ratio, known.sampling.centre, (known.sampling.pan_gain,))
    pan_box = alone.pan_box(box, alone.down_reach + 1, scene.pair.pan.grid.shape)
    window = scene.read(box, pan_box)
    operators = Operators(alone, pan_box, box)
    seen = operators.sees_only(window.pan.valid.of(window.pan.values)[None])[0]
    valid = Validity(seen) & window.ms.valid.joint()
    ms, pan = window.ms.values, operators.down(window.pan.values[None])[0]
    shown = known.stated if known.optics is None else replace(known.stated, gains=(known.optics.gain,))
    return _make_source(name, Pixels(ms, valid), pan, shown.expected_softness)


def _make_source(name: str, bands: Pixels, pan: Tensor | None = None, softness: float = 0.0) -> Source:
    """Scale bands and PAN so that the brightest valid pixel of the bands is 1; what is invalid becomes 0."""
    valid = bands.valid.simplified()
    if not valid.anywhere:
        raise InputError("no pixel is valid", "")
    top = float(bands.known().abs().max())
    if top <= 0:
        raise InputError("all pixels are 0", "")
    values = valid.keep(bands.values) / top
    return Source(name, values, None if pan is None else valid.keep(pan) / top, valid, softness)
