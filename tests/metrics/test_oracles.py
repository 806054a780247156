"""Published and independently measured values on real scenes, to ±.002."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clippan_cli.metrics.hypercomplex import q2n
from clippan_cli.metrics.qnr import d_lambda, d_lambda_k, d_s, qnr
from clippan_cli.metrics.reference import ergas, sam
from clippan_cli.physics.dlpan import dlpan_degrade, dlpan_filter, imresize, interp23
from tests.conftest import read
from tests.metrics.dlpan_methods import Benchmark

Scene = Callable[[str], Path]

QUICKBIRD = {
    "exp": (8.335, 10.578, 0.6567),
    "gsa": (8.000, 7.724, 0.7786),
    "bdsd-pc": (8.299, 7.815, 0.7585),
    "glp-fs": (7.842, 7.459, 0.7880),
    "hpm-r": (7.073, 7.005, 0.8121),
}


def image(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(read(str(folder / f"{name}.tif")).astype("float64"))


@pytest.mark.parametrize("name", QUICKBIRD)
def test_quickbird_at_reduced_resolution(name: str, real_scene: Scene) -> None:
    folder = real_scene("rr_gt_qb_lppn")
    scene = Benchmark(image(folder, "ms"), image(folder, "pan")[0], (0.34, 0.32, 0.30, 0.22), 0.15)
    fused = scene.fuse(name).clamp(0, 2047)[:, 20:-20, 20:-20]
    truth = image(folder, "gt")[:, 20:-20, 20:-20]
    measured = (float(sam(fused, truth)), float(ergas(fused, truth, 4)), float(q2n(fused, truth)))
    assert measured == pytest.approx(QUICKBIRD[name], abs=2e-3)


FULL = {
    ("wv2_vitale", "exp"): {"d_s": 0.0933, "qnr": 0.9067, "a": 0.0455, "b": 0.0250, "hqnr": 0.8655},
    ("wv2_vitale", "gsa"): {"d_lambda": 0.0554, "d_s": 0.0775, "qnr": 0.8714, "a": 0.1195, "b": 0.0459, "hqnr": 0.8122},
    ("gf2_fullres_0", "exp"): {"qnr": 0.7981},
    ("gf2_fullres_0", "gsa"): {"qnr": 0.8813, "hqnr": 0.8677},
    ("gf2_fullres_0", "hpm-r"): {"qnr": 0.9145, "hqnr": 0.9197},
}


@pytest.mark.parametrize(("folder", "name"), FULL)
def test_full_resolution(folder: str, name: str, real_scene: Scene) -> None:
    side, gains, pan_gain = (256, (0.35,) * 7 + (0.27,), 0.11) if folder == "wv2_vitale" else (96, (0.3,) * 4, 0.15)
    place = real_scene(folder)
    ms, pan = image(place, "ms")[:, :side, :side], image(place, "pan")[0, : 4 * side, : 4 * side]
    scene = Benchmark(ms, pan, gains, pan_gain)
    fused = scene.fuse(name)
    spectral = d_lambda(fused, scene.ms_up)
    spatial = d_s(fused, scene.ms_up, pan, interp23(imresize(pan[None], 4), 4))
    khan = d_lambda_k(dlpan_filter(fused, 4, gains), scene.ms_up)
    found = {
        "d_lambda": spectral,
        "d_s": spatial,
        "qnr": qnr(spectral, spatial),
        "a": khan,
        "b": d_lambda_k(dlpan_degrade(fused, 4, gains), ms),
        "hqnr": qnr(khan, spatial),
    }
    for key, value in FULL[folder, name].items():
        assert float(found[key]) == pytest.approx(value, abs=2e-3), key
    if name == "exp":
        assert float(spectral) == 0
