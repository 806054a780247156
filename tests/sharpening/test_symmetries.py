"""What must not change the image, and what must change it in a known way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from clippan_cli import SharpenOptions, explain, sharpen
from clippan_cli.base.options import build
from clippan_cli.fusion.registry import DEFAULT, METHODS
from tests.conftest import Made, read
from tests.sharpening.test_resume import rounded

MakeScene = Callable[..., Made]
NAMES = [*(set(METHODS) - {"sr-d"}), DEFAULT]
NAMES.sort()


def run(scene: Made, name: str, **more: Any) -> NDArray[np.float64]:
    named = {"model": name} if name == DEFAULT else {"method": name}
    options = {"register": "off", "overwrite": True, "guard": False, "jobs": 1, **named, **more}
    sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, options))
    return read(scene.out).astype(np.float64)


def change(path: str, to: Callable[[NDArray[Any]], NDArray[Any]], move: Affine | None = None) -> None:
    """Rewrite a raster: other pixels, another place."""
    with rasterio.open(path, "r+") as target:
        target.write(to(target.read()))
        if move is not None:
            target.transform = move @ target.transform


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("power", [-3, 5])
def test_twice_the_light_is_twice_the_image(make_scene: MakeScene, name: str, power: int) -> None:
    scene = make_scene(size=24, dtype="float32", peak=1.0)
    wanted = run(scene, name)
    for path in (scene.ms, scene.pan):
        change(path, lambda pixels: pixels * np.float32(2.0**power))
    np.testing.assert_array_equal(run(scene, name), wanted * 2.0**power)


@pytest.mark.parametrize("name", ["gsa", "mtf-glp-hpm-r", DEFAULT])
def test_where_on_earth_does_not_matter(make_scene: MakeScene, name: str) -> None:
    scene = make_scene(size=24)
    wanted = run(scene, name)
    for path in (scene.ms, scene.pan):
        change(path, lambda pixels: pixels, Affine.translation(-1024, 4096))
    np.testing.assert_array_equal(run(scene, name), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_bands_does_not_matter(make_scene: MakeScene, name: str) -> None:
    scene = make_scene(size=24)
    wanted = run(scene, name)
    order = [2, 0, 3, 1]
    change(scene.ms, lambda pixels: pixels[order])
    assert np.abs(run(scene, name) - wanted[order]).max() <= 1


@pytest.mark.parametrize("name", ["exp", "mtf-glp-hpm-r"])
def test_a_moved_scene_is_a_moved_image(make_scene: MakeScene, name: str) -> None:
    """Whole MS pixels from the edge on, far from the edges that differ."""
    scene = make_scene(size=64)
    consistency = {"consistency": 0, "tile_size": 96}
    wanted = run(scene, name, **consistency)
    change(scene.ms, lambda pixels: np.roll(pixels, (8, -12), (1, 2)))
    change(scene.pan, lambda pixels: np.roll(pixels, (32, -48), (1, 2)))
    made = np.roll(run(scene, name, **consistency), (-32, 48), (1, 2))
    inner = (slice(None), slice(88, 168), slice(88, 168))
    assert np.abs(made - wanted)[inner].max() <= (0 if name == "exp" else 3)


@pytest.mark.parametrize("name", ["gsa", DEFAULT])
def test_turning_the_scene_turns_the_image(make_scene: MakeScene, name: str) -> None:
    scene = make_scene(size=24)
    wanted = run(scene, name)
    for path in (scene.ms, scene.pan):
        change(path, lambda pixels: pixels.swapaxes(1, 2))
    made = run(scene, name).swapaxes(1, 2)
    assert np.abs(made - wanted).max() <= (1 if name == "gsa" else 0.2 * wanted.max())


@pytest.mark.parametrize("name", ["gsa", "bdsd-pc", DEFAULT])
def test_hands_and_memory_do_not_matter(make_scene: MakeScene, name: str) -> None:
    scene = make_scene(size=40)
    wanted = run(scene, name, tile_size=64, jobs=1)
    for more in ({"jobs": 3}, {"memory": 5 << 30}, {"config": {"GDAL_NUM_THREADS": "2"}}):
        np.testing.assert_array_equal(run(scene, name, tile_size=64, **more), wanted)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_back_projection_brings_the_image_nearer_to_ms(make_scene: MakeScene, steps: int) -> None:
    import torch

    from clippan_cli.physics.operators import Operators
    from tests.conftest import box

    scene = make_scene(size=32, dtype="float32", peak=1.0)
    errors = []
    for count in (steps, steps + 1):
        made = torch.from_numpy(run(scene, "brovey", consistency=count))
        low = Operators(scene.sampling, box(128, 128), box(32, 32), dtype=torch.float64).down(made)
        errors.append(float((low - torch.from_numpy(read(scene.ms).astype("float64"))).abs()[:, 4:-4, 4:-4].mean()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("more", [{}, {"bands": (2,)}, {"dtype": "float32"}, {"guard": False}])
def test_explain_says_what_sharpen_does(make_scene: MakeScene, more: dict[str, Any]) -> None:
    scene = make_scene(size=32, slip=(0.4, 0.0))
    options = build(SharpenOptions, {"tile_size": 64, "jobs": 2} | more)
    foreseen = explain([scene.ms], scene.pan, scene.out, options)
    done = vars(sharpen([scene.ms], scene.pan, scene.out, options))
    for name, value in vars(foreseen).items():
        assert rounded(done[name]) == rounded(value), name
