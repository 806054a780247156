from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.options import build
from clippan_cli.errors import ModelError
from clippan_cli.fusion.guard import judge
from clippan_cli.fusion.learned import Learned
from clippan_cli.fusion.method import Statistics, Tile
from clippan_cli.fusion.moments import tile_moments
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.fusion.traits import (
    FEATURES,
    Traits,
    from_moments,
    from_pixels,
    stack_features,
)
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas
from clippan_cli.modelstore.model import save_model
from clippan_cli.networks.network import Trait
from clippan_cli.networks.registry import network
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Validity, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.simulation import degrade, soften
from tests.conftest import Made, bands, box, read

MakeScene = Callable[..., Made]


def run(scene: Made, **options: Any) -> NDArray[Any]:
    sharpen([scene.ms], scene.pan, scene.out, build(SharpenOptions, {"overwrite": True, "guard": False, **options}))
    return read(scene.out)


def pair(ratio: float = 4.0, *, count: int = 3, blur: float = 0.0, side: int = 192) -> tuple[torch.Tensor, ...]:
    """MS, PAN and truth, softened by ``blur`` PAN pixels, and where they lie."""
    truth = torch.from_numpy(bands((side, side), count)).float()
    pan = truth.mean(0)
    if blur:
        truth = soften(truth, torch.full((count,), blur))
    size = int(side / ratio)
    sampling = stated(ratio, count)
    return Operators(sampling, box(side, side), box(size, size)).down(truth), pan, truth


def stated(ratio: float, count: int, pan_gain: float = 0.15) -> Sampling:
    return Sampling.uniform((ratio, ratio), ((ratio - 1) / 2,) * 2, (0.3,) * count, pan_gain)


def traits(ms: torch.Tensor, pan: torch.Tensor, ratio: float = 4.0, pan_gain: float = 0.15) -> Traits:
    sampling = stated(ratio, len(ms), pan_gain)
    whole = box(*ms.shape[1:])
    operators = Operators(sampling, box(*pan.shape), whole)
    moments = tile_moments(FEATURES, ms, Pixels(pan), operators.covered, operators, core=whole)
    return from_moments(moments, sampling)


def test_traits_do_not_depend_on_the_order_of_features() -> None:
    ms, pan, _ = pair(side=96)
    sampling, whole = stated(4.0, len(ms)), box(*ms.shape[1:])
    operators = Operators(sampling, box(*pan.shape), whole)
    features = ("pan_simulated", *sorted(FEATURES, reverse=True), "lifted")
    moments = tile_moments(features, ms, Pixels(pan), operators.covered, operators, core=whole)
    for one, other in zip(from_moments(moments, sampling), traits(ms, pan), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 6.0])
@pytest.mark.parametrize("count", [1, 4, 12])
def test_any_ratio_and_any_number_of_bands(ratio: float, count: int) -> None:
    """Nothing was trained on 12 bands, nor at every ratio; the product is sharper than interpolation all the same."""
    ms, pan, truth = pair(ratio, count=count, side=96)
    sampling = stated(ratio, count)
    scores = [float(ergas(fuse_whole(method(name), ms, pan, sampling, 2), truth, ratio)) for name in (DEFAULT, "exp")]
    assert scores[0] < 0.75 * scores[1]


def test_odd_ratio_and_tiles(make_scene: MakeScene) -> None:
    scene = make_scene(ratio=4.015, phase=0.3, size=70)
    made = [run(scene, tile_size=size).astype(int) for size in (64, 96, 512)]
    for other in made[1:]:
        assert np.abs(made[0] - other).max() <= 1


@pytest.mark.parametrize("collar", [False, True])
def test_tile_size_does_not_matter(make_scene: MakeScene, collar: bool) -> None:
    valid = np.ones((80, 80), bool)
    if collar:
        rows, cols = np.mgrid[:80, :80]
        valid = (rows + 2 * cols > 70) & (np.hypot(rows - 50, cols - 50) > 6)
    scene = make_scene(size=80, valid=valid, nodata=0, slip=(0.3, -0.2))
    made = [run(scene, tile_size=size).astype(int) for size in (64, 100, 512)]
    for other in made[1:]:
        assert np.abs(made[0] - other).max() <= 1
    if collar:
        np.testing.assert_array_equal(made[0].all(0), np.kron(valid, np.ones((4, 4), bool)))


def test_scale_equivariance(make_scene: MakeScene) -> None:
    """Four times the DN gives four times the image, but for rounding to whole DN."""
    scene = make_scene(size=48, dtype="float32", peak=100)
    small = run(scene, precision="fp32")
    for path in (scene.ms, scene.pan):
        with rasterio.open(path, "r+") as target:
            target.write(target.read() * 3)
    np.testing.assert_allclose(run(scene, precision="fp32"), 3 * small, rtol=1e-3, atol=0.02)
    # 16 bits round three times a number otherwise.
    assert np.abs(run(scene, precision="bf16") - 3 * small).std() < 0.005 * small.std()


def test_sixteen_bits_are_enough(make_scene: MakeScene) -> None:
    scene = make_scene(size=96, dtype="float32", peak=1000)
    wide, narrow = (run(scene, precision=each) for each in ("fp32", "bf16"))
    apart = (narrow - wide).std((1, 2)) / wide.std((1, 2))
    assert apart.min() > 0
    assert apart.max() < 0.003


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tile_size_does_not_matter_in_any_precision(make_scene: MakeScene, precision: str) -> None:
    scene = make_scene(size=80, dtype="float32", peak=1000)
    made = [run(scene, tile_size=size, precision=precision) for size in (64, 100, 512)]
    for other in made[1:]:
        assert np.abs(made[0] - other).max() < 0.01 * made[0].std()


def test_networks_that_16_bits_would_harm_keep_32(tmp_path: Path) -> None:
    pair = torch.rand(3, 16, 16), torch.rand(64, 64)
    made = network("pnn", 3, widths=(4, 4))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model = save_model(tmp_path / "m", made, name="pnn", settings={"widths": (4, 4)}, ratios=(2, 6), card="")
    sampling = Sampling.uniform((4.0, 4.0), (1.5, 1.5), (0.3,) * 3)
    with torch.inference_mode():
        wide, narrow = (fuse_whole(Learned(model, precision=each), *pair, sampling, 2) for each in ("fp32", "bf16"))
    assert torch.equal(wide, narrow)


def test_constant_and_dead_bands(make_scene: MakeScene) -> None:
    scene = make_scene(size=48)
    with rasterio.open(scene.ms, "r+") as target:
        target.write(np.full((48, 48), 500, "uint16"), 2)
    made = run(scene)
    assert np.abs(made[1].astype(int) - 500).max() <= 1
    with rasterio.open(scene.pan, "r+") as target:
        target.write(np.full((1, 192, 192), 700, "uint16"))
    made, plain = run(scene).astype(int), read(scene.ms).astype(int)
    assert np.abs(made[1] - 500).max() <= 1
    margin = 0.3 * np.ptp(plain)
    assert plain.min() - margin < made.min() < made.max() < plain.max() + margin


def test_a_band_of_zeros_spoils_no_other(make_scene: MakeScene) -> None:
    scene = make_scene(size=48)
    with rasterio.open(scene.ms, "r+") as target:
        target.write(np.zeros((48, 48), "uint16"), 2)
    sharp = run(scene, guard=True, src_nodata="none").astype(int)
    assert sharp[1].max() <= 1
    assert np.std(sharp[0]) > np.std(read(scene.ms)[0])


def test_traits_do_not_see_gaps(make_scene: MakeScene) -> None:
    """The same ground with and without a collar beside it is the same scene to the network."""
    ms, pan, _ = pair(side=256)
    sampling = stated(4.0, 3)
    whole = box(*ms.shape[1:])
    operators = Operators(sampling, box(*pan.shape), whole)
    usable = operators.covered.clone()
    usable[:, :20] = False
    full = from_moments(tile_moments(FEATURES, ms, Pixels(pan), usable, operators, core=whole), sampling)
    known = torch.ones_like(pan, dtype=torch.bool)
    known[:, :60] = False
    gap = torch.where(known, pan, 0)
    moments = tile_moments(FEATURES, ms, Pixels(gap, Validity(known)), usable, operators, core=whole)
    torch.testing.assert_close(from_moments(moments, sampling).values, full.values, atol=0.15, rtol=0)


def test_traits_know_no_unit() -> None:
    ms, pan, _ = pair()
    first, second = traits(ms, pan), traits(8 * ms, 32 * pan)
    torch.testing.assert_close(first.values, second.values, atol=1e-4, rtol=0)
    torch.testing.assert_close(8 * first.deviation, second.deviation)
    torch.testing.assert_close(32 * first.pan_mean, second.pan_mean)


def test_traits_tell_how_soft_the_bands_are() -> None:
    ms, pan, _ = pair()
    sampling = stated(4.0, 3)
    whole = box(*ms.shape[1:])
    moments = tile_moments(
        FEATURES, ms, Pixels(pan), torch.ones(whole.shape) > 0, Operators(sampling, box(*pan.shape), whole), core=whole
    )
    for softness in (-0.2, 0.0, 0.3):
        told = from_moments(moments, replace(sampling, softness=softness)).values[..., Trait.SOFTNESS]
        torch.testing.assert_close(told, torch.full_like(told, 8 * softness))
    blurred, _, _ = pair(blur=0.5)
    soft, sharp = (float(traits(each, pan).values[..., Trait.SLOPE_CHANGE].mean()) for each in (blurred, ms))
    assert soft < sharp


def test_traits_from_pixels_and_from_moments_agree() -> None:
    ms, pan, _ = pair()
    sampling = stated(4.0, 3)
    whole = box(*ms.shape[1:])
    operators = Operators(sampling, box(*pan.shape), whole)
    features = stack_features(ms[None], operators.pan_down(pan)[:1], whole)
    found = from_pixels(features, torch.tensor([sampling.gains]), torch.tensor([sampling.expected_softness]))
    torch.testing.assert_close(found.values, traits(ms, pan).values, atol=1e-3, rtol=0)


def test_simulation_and_operators_are_one_physics() -> None:
    x = torch.rand(2, 60, 48, generator=torch.Generator().manual_seed(0))
    sampling = Sampling.uniform((3.0, 3.0), (0.7, 0.7), (0.25, 0.25))
    phase, gain = torch.full((2, 2), 0.7), torch.full((2, 2), 0.25)
    seen = degrade(x, 3.0, phase, gain, (20, 16))
    torch.testing.assert_close(seen, Operators(sampling, box(60, 48), box(20, 16)).down(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(soften(x, torch.zeros(2)), x)


def samples(ms: torch.Tensor, pan: torch.Tensor) -> tuple[Window, ...]:
    return (Window(Pixels(ms), Pixels(pan), box(*ms.shape[1:]), box(*pan.shape)),)


@pytest.mark.parametrize(("spoil", "reason"), [(0.0, None), (0.5, "R-ERGAS"), (float("nan"), "not finite")])
def test_the_guard(spoil: float, reason: str | None) -> None:
    ms, pan, _ = pair()
    sampling = stated(4.0, 3)
    whole = box(*ms.shape[1:])
    operators = Operators(sampling, box(*pan.shape), whole)
    moments = tile_moments(FEATURES, ms, Pixels(pan), operators.covered, operators, core=whole)
    statistics = Statistics(sampling, moments, samples(ms, pan))
    learned = method(DEFAULT).fit(statistics)
    fuse = learned.fuse
    object.__setattr__(learned, "fuse", lambda tile: fuse(tile) + spoil * torch.randn_like(tile.pan.values))
    anchors = [method(name).fit(statistics) for name in ("mtf-glp-hpm-r", "gsa")]
    verdict = judge(learned, anchors, statistics, 2)
    assert (verdict.reason or "").startswith(reason or "") if reason != "not finite" else reason in str(verdict.reason)
    assert (verdict.reason is None) == (reason is None)


def test_a_bad_model_gives_way(make_scene: MakeScene, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = network("pnn", 4, widths=(4, 4))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    size = {"widths": (4, 4)}
    save_model(tmp_path / "bad", made, name="pnn", settings=size, ratios=(2, 8), card="")
    scene = make_scene(size=48)
    options = SharpenOptions(model=str(tmp_path / "bad"), overwrite=True)
    record = sharpen([scene.ms], scene.pan, scene.out, options)
    assert record.method_used == "mtf-glp-hpm-r"
    assert record.guard is not None
    assert record.guard.reason
    with rasterio.open(scene.out) as image:
        assert image.tags()["CLIPPAN_METHOD"] == "mtf-glp-hpm-r"
    np.testing.assert_allclose(read(scene.out), run(scene, method="mtf-glp-hpm-r"), atol=1)
    record = sharpen([scene.ms], scene.pan, scene.out, replace(options, guard=False))
    assert record.method_used == "bad"


def test_models_refuse_what_they_are_not_for(make_scene: MakeScene, tmp_path: Path) -> None:
    made = network("pnn", 3, widths=(4, 4))
    size = {"widths": (4, 4)}
    model = save_model(tmp_path / "three", made, name="pnn", settings=size, ratios=(2, 8), card="")
    scene = make_scene(size=40)
    with pytest.raises(ModelError, match="for 3 bands, MS has 4"):
        sharpen([scene.ms], scene.pan, scene.out, SharpenOptions(model=str(tmp_path / "three")))
    with pytest.raises(ModelError, match="for 3 bands"):
        Learned(model).fit(Statistics(stated(4.0, 4), moments=None))  # type: ignore[arg-type]


def test_only_what_is_wanted_is_worked_out() -> None:
    ms, pan, _ = pair(side=256)
    sampling, small, large = stated(4.0, 3), box(64, 64), box(256, 256)
    operators = Operators(sampling, large, small)
    moments = tile_moments(FEATURES, ms, Pixels(pan), operators.covered, operators, core=small)
    learned = method(DEFAULT).fit(Statistics(sampling, moments))
    whole = learned.fuse(Tile(Pixels(ms), Pixels(pan), operators))
    wanted = Box(Span(101, 140), Span(0, 33))
    tile = Tile(Pixels(ms), Pixels(pan), operators, wanted=wanted)
    plain, part = tile.ms_up.clone(), learned.fuse(tile)
    cut = (slice(None), *wanted.within(large))
    torch.testing.assert_close(part[cut], whole[cut], atol=1e-5, rtol=0)
    assert torch.equal(part[:, 210:], plain[:, 210:])


def test_the_default_gives_way_where_it_was_not_made_for_the_ratio(make_scene: MakeScene) -> None:
    scene = make_scene(ratio=10, size=24)
    record = sharpen([scene.ms], scene.pan, scene.out)
    assert record.method_used == record.plan.method == "mtf-glp-hpm-r"
