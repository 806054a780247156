from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.io import MemoryFile

from clippan_cli.base.geometry import Span
from clippan_cli.errors import UsageError
from clippan_cli.fusion.consistency import back_project, residual
from clippan_cli.fusion.method import Statistics, Tile
from clippan_cli.fusion.moments import Moments, merge, tile_moments
from clippan_cli.fusion.multiresolution import _upsampled_covariance
from clippan_cli.fusion.registry import METHODS, method
from clippan_cli.fusion.substitution import bounded_least_squares, intensity_weights
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling
from tests.conftest import bands, box

FEATURES = ("ms", "ms_low", "pan_low", "pan_simulated", "lifted", "lifted_one")
SIZE, RATIO = 48, 4
SIDE = SIZE * RATIO


class Scene:
    def __init__(self, count: int = 4, gain: float = 0.3, weights: list[float] | None = None) -> None:
        self.truth = torch.from_numpy(bands((SIDE, SIDE), count))
        self.sampling = Sampling.uniform((RATIO, RATIO), (1.5, 1.5), (gain,) * count)
        self.operators = Operators(self.sampling, box(SIDE, SIDE), box(SIZE, SIZE), dtype=torch.float64)
        self.ms = self.operators.down(self.truth)
        mix = torch.tensor(weights or [1 / count] * count, dtype=torch.float64)
        self.pan = torch.tensordot(mix, self.truth, 1)
        self.moments = tile_moments(
            FEATURES, self.ms, Pixels(self.pan), self.operators.covered, self.operators, core=box(SIZE, SIZE)
        )
        self.tile = Tile(Pixels(self.ms), Pixels(self.pan), self.operators)

    def fuse(self, name: str, steps: int = 2, scale: float = 1.0) -> torch.Tensor:
        return fuse_whole(method(name), self.ms * scale, self.pan * scale, self.sampling, steps)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_scale_equivariant(scene: Scene, name: str) -> None:
    one, many = scene.fuse(name), scene.fuse(name, scale=1000.0)
    torch.testing.assert_close(many / 1000, one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "exp"])
def test_every_method_beats_interpolation(scene: Scene, name: str) -> None:
    exp = ergas(scene.fuse("exp"), scene.truth, RATIO)
    assert float(ergas(scene.fuse(name), scene.truth, RATIO)) < 0.6 * float(exp)


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", METHODS)
def test_any_number_of_bands(name: str, count: int) -> None:
    made = Scene(count).fuse(name)
    assert made.shape == (count, SIDE, SIDE)
    assert bool(torch.isfinite(made).all())


@pytest.mark.parametrize("name", METHODS)
def test_a_constant_scene_stays_constant(name: str) -> None:
    sampling = Sampling.uniform((4.015, 4.015), (0.2, 0.2), (0.3, 0.3))
    ms = torch.full((2, 40, 40), 0.25, dtype=torch.float64)
    made = fuse_whole(method(name), ms, torch.full((160, 160), 0.25, dtype=torch.float64), sampling, 2)
    torch.testing.assert_close(made, torch.full_like(made, 0.25), atol=1e-5, rtol=0)


def test_an_unknown_method() -> None:
    with pytest.raises(UsageError, match="no method or model 'magic'"):
        method("magic")


def test_moments_of_parts_add_up(scene: Scene) -> None:
    half = SIZE // 2
    parts = []
    for rows in (Span(0, half), Span(half, SIZE)):
        for cols in (Span(0, half), Span(half, SIZE)):
            core = box(1, 1)._replace(rows=rows, cols=cols)
            parts.append(
                tile_moments(FEATURES, scene.ms, Pixels(scene.pan), scene.operators.covered, scene.operators, core=core)
            )
    total = merge(parts)
    assert total.count == SIZE * SIZE
    np.testing.assert_allclose(total.sums, scene.moments.sums, rtol=1e-9)
    again = Moments.of(total.record)
    np.testing.assert_array_equal(again.sums, total.sums)
    assert again.names == total.names


def test_lifted_moments_are_those_at_pans_resolution(scene: Scene) -> None:
    up = scene.operators.up(scene.ms)
    wanted = np.array([np.cov(up[k].ravel(), scene.pan.ravel(), bias=True)[0, 1] for k in range(4)])
    np.testing.assert_allclose(_upsampled_covariance(scene.moments, "ms"), wanted, rtol=1e-9)


def test_least_squares_finds_the_response_of_pan() -> None:
    scene = Scene(weights=[0.1, 0.4, 0.5, 0.0])
    weights, offset = intensity_weights(scene.moments, lowest=0.0)
    np.testing.assert_allclose(weights, [0.1, 0.4, 0.5, 0.0], atol=1e-6)
    assert offset == pytest.approx(0, abs=1e-6)


def test_bounded_least_squares() -> None:
    rng = np.random.default_rng(0)
    matrix, right = rng.standard_normal((50, 4)), rng.standard_normal(50)
    gram, target = matrix.T @ matrix, matrix.T @ right
    free = (np.full(4, -np.inf), np.full(4, np.inf))
    np.testing.assert_allclose(bounded_least_squares(gram, target, free), np.linalg.solve(gram, target), rtol=1e-6)
    tight = (np.zeros(4), np.full(4, np.inf))
    found = bounded_least_squares(gram, target, tight)
    assert (found >= 0).all()
    gradient = gram @ found - target
    assert (np.abs(gradient[found > 1e-9]) < 1e-6).all()
    assert (gradient[found <= 1e-9] > -1e-6).all()


def test_bdsd_pc_obeys_its_signs(scene: Scene) -> None:
    fitted = method("bdsd-pc").fit(Statistics(scene.sampling, scene.moments))
    for row in fitted.parameters.values():
        assert max(row[:-1]) <= 0
        assert row[-1] >= 0


def test_a_band_that_pan_does_not_see_stays_as_it_is() -> None:
    scene = Scene()
    scene.pan = torch.from_numpy(bands((SIDE, SIDE), 1, seed=77)[0])
    for name in ("mtf-glp-hpm-r", "mtf-glp-fs"):
        made = scene.fuse(name, steps=0)
        assert float((made - scene.tile.ms_up).abs().mean()) < 0.2 * float(scene.truth.std())


def test_back_projection_converges_and_keeps_what_is_consistent(scene: Scene) -> None:
    out = method("gsa").fit(Statistics(scene.sampling, scene.moments)).fuse(scene.tile)
    errors = []
    for _ in range(5):
        errors.append(float(residual(out, scene.tile).abs().mean()))
        out = back_project(out, scene.tile, 1)
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 0.2 * errors[0]
    same = back_project(scene.truth.clone(), scene.tile, 3)
    torch.testing.assert_close(same, scene.truth, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["exp", "gsa", "mtf-glp-hpm-r", "sr-d"])
def test_the_halo_suffices(scene: Scene, name: str) -> None:
    fitted = method(name).fit(Statistics(scene.sampling, scene.moments, _samples(scene)))
    whole = fitted.fuse(scene.tile)
    core = box(1, 1)._replace(rows=Span(88, 104), cols=Span(84, 100))
    pan_box = core.grow(method(name).halo(scene.sampling) + 2, (SIDE, SIDE))
    ms_box = scene.sampling.ms_box(pan_box, (SIZE, SIZE))
    part = Tile(
        Pixels(ms_box.cut(scene.ms, box(SIZE, SIZE))),
        Pixels(pan_box.cut(scene.pan, box(SIDE, SIDE))),
        Operators(scene.sampling, pan_box, ms_box, dtype=torch.float64),
    )
    cut = (slice(None), *core.within(pan_box))
    torch.testing.assert_close(fitted.fuse(part)[cut], whole[:, 88:104, 84:100], atol=1e-9, rtol=0)


def _samples(scene: Scene) -> tuple[Window, ...]:
    return (Window(Pixels(scene.ms), Pixels(scene.pan), box(SIZE, SIZE), box(SIDE, SIDE)),)


def test_gdal_brovey_is_gdals() -> None:
    scene = Scene()
    made = scene.fuse("gdal-brovey", steps=0)
    with MemoryFile() as ms, MemoryFile() as pan:
        for file, pixels, step in ((ms, scene.ms, RATIO), (pan, scene.pan[None], 1)):
            profile = {"driver": "GTiff", "count": len(pixels), "dtype": "float32"}
            with file.open(
                height=pixels.shape[1], width=pixels.shape[2], transform=Affine(step, 0, 10, 0, -step, 10), **profile
            ) as target:
                target.write(pixels.numpy().astype("float32"))
        sources = "".join(
            f'<SpectralBand dstBand="{k}"><SourceFilename>{ms.name}</SourceFilename>'
            f"<SourceBand>{k}</SourceBand></SpectralBand>"
            for k in range(1, 5)
        )
        text = (
            '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions><PanchroBand>'
            f"<SourceFilename>{pan.name}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>{sources}"
            "</PansharpeningOptions></VRTDataset>"
        )
        with rasterio.open(text) as fused:
            wanted = fused.read(out_dtype="float64")
    # At the very edge GDAL has no MS beyond; here it is continued.
    inner = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(made.numpy()[inner], wanted[inner], rtol=1e-4)
