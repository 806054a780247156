from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from clippan_cli.base.geometry import Span
from clippan_cli.physics.banded import Banded
from clippan_cli.physics.kernels import degradation, upsampling, upsampling_adjoint
from clippan_cli.physics.sampling import mtf_sigma

KIND = {"dtype": torch.float64}
CASES = [(4.0, 1.5), (2.0, 0.0), (4.015, 0.009), (3.0, 2.2), (6.0, -1.3)]


def dense(matrix: Banded) -> torch.Tensor:
    return matrix.along_rows(torch.eye(matrix.shape[1], dtype=torch.float64))


def test_banded_equals_the_dense_matrix_along_both_axes() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 150, 900)
    cols = np.clip(rows // 2 + rng.integers(-3, 4, 900), 0, 79)
    values = rng.standard_normal(900)
    wanted = np.zeros((150, 80))
    np.add.at(wanted, (rows, cols), values)
    matrix = Banded.from_entries((150, 80), rows, cols, values, dtype=torch.float64)
    x = torch.from_numpy(rng.standard_normal((2, 80, 80)))
    np.testing.assert_allclose(dense(matrix), wanted, atol=1e-14)
    np.testing.assert_allclose(matrix.along_rows(x), wanted @ x.numpy(), atol=1e-12)
    np.testing.assert_allclose(matrix.along_cols(x), x.numpy() @ wanted.T, atol=1e-12)


@pytest.mark.parametrize(("ratio", "phase"), CASES)
def test_rows_sum_to_one(ratio: float, phase: float) -> None:
    pan, ms = Span(0, 300), Span(0, round(300 / ratio))
    for matrix in (upsampling(ratio, phase, pan, ms, **KIND), degradation(ratio, phase, 0.3, pan, ms, **KIND)):
        np.testing.assert_allclose(dense(matrix).sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(("ratio", "phase"), CASES)
def test_upsampling_keeps_straight_lines(ratio: float, phase: float) -> None:
    ms = Span(0, 60)
    pan = Span(math.ceil(phase + 2 * ratio), math.floor(phase + 57 * ratio))
    line = phase + ratio * torch.arange(60, dtype=torch.float64)
    made = upsampling(ratio, phase, pan, ms, **KIND).along_rows(line[:, None])[:, 0]
    np.testing.assert_allclose(made, np.arange(*pan), atol=1e-9)


@pytest.mark.parametrize(("ratio", "phase"), CASES)
def test_adjoint(ratio: float, phase: float) -> None:
    pan, ms = Span(3, 200), Span(1, 50)
    up = dense(upsampling(ratio, phase, pan, ms, **KIND))
    down = dense(upsampling_adjoint(ratio, phase, pan, ms, **KIND))
    np.testing.assert_allclose(up.T, down, atol=1e-14)


@pytest.mark.parametrize("gain", [0.15, 0.3, 0.55])
def test_response_at_nyquist_is_the_gain(gain: float) -> None:
    ratio, phase = 4.0, 1.5
    pan, ms = Span(0, 400), Span(0, 100)
    wave = torch.cos(math.pi / ratio * (torch.arange(400, dtype=torch.float64) - phase))
    seen = degradation(ratio, phase, gain, pan, ms, **KIND).along_rows(wave[:, None])[20:80, 0].numpy()
    np.testing.assert_allclose(seen * (-1.0) ** np.arange(20, 80), gain, atol=2e-3)


def test_closed_form_widths() -> None:
    assert mtf_sigma(4, 0.30) == pytest.approx(1.976, abs=1e-3)
    assert mtf_sigma(4, 0.22) == pytest.approx(2.216, abs=1e-3)
    assert mtf_sigma(2, 0.55) == pytest.approx(0.696, abs=1e-3)


def test_degradation_against_a_plain_loop() -> None:
    ratio, phase, gain = 4.015, 0.7, 0.28
    pan, ms = Span(5, 90), Span(1, 22)
    wanted = np.zeros((ms.size, pan.size))
    sigma = mtf_sigma(ratio, gain)
    for k in range(ms.size):
        centre = phase + ratio * (k + ms.start)
        for n in range(pan.size):
            offset = n + pan.start - centre
            if abs(offset) <= 4 * sigma:
                wanted[k, n] = math.exp(-0.5 * (offset / sigma) ** 2)
        wanted[k] /= wanted[k].sum()
    np.testing.assert_allclose(dense(degradation(ratio, phase, gain, pan, ms, **KIND)), wanted, atol=1e-14)


def test_windows_agree_with_the_whole() -> None:
    ratio, phase = 4.015, 0.4
    whole = dense(upsampling(ratio, phase, Span(0, 400), Span(0, 100), **KIND))
    part = dense(upsampling(ratio, phase, Span(100, 140), Span(20, 40), **KIND))
    np.testing.assert_allclose(part, whole[100:140, 20:40], atol=1e-13)


def test_pixels_beyond_the_span_see_its_end() -> None:
    matrix = dense(degradation(4.0, -60.0, 0.3, Span(0, 50), Span(0, 4), **KIND))
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (matrix[:, 20:] == 0).all()
