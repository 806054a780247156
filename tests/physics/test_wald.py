from __future__ import annotations

import torch

from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.registration import measure_shift
from clippan_cli.physics.sampling import Sampling
from clippan_cli.physics.wald import reduce
from tests.conftest import bands, box


def test_the_reduced_pair_is_registered_and_its_truth_is_ms() -> None:
    size, side = 120, 480
    truth = torch.from_numpy(bands((side, side), 3)).float()
    stated = Sampling.uniform((4.0, 4.0), (1.5, 1.5), (0.3, 0.3, 0.3))
    true = stated.shifted(((0.6, -0.4),) * 3)
    ms = Operators(true, box(side, side), box(size, size)).down(truth)
    reduced = reduce(ms, truth.mean(0), true)
    assert reduced.ms.shape == (3, 30, 30)
    assert reduced.pan.shape == (size, size)
    assert reduced.truth is ms
    window = Window(Pixels(ms), Pixels(reduced.pan), box(size, size), box(size, size))
    same = Sampling.uniform((1.0, 1.0), (0.0, 0.0), (0.9, 0.9, 0.9))
    whole = measure_shift([window], same).whole
    assert whole is not None
    assert whole.size < 0.05


def test_a_slip_is_kept_silent() -> None:
    ms = torch.from_numpy(bands((64, 64), 2)).float()
    pan = torch.from_numpy(bands((256, 256), 2)).float().mean(0)
    sampling = Sampling.uniform((4.0, 4.0), (1.5, 1.5), (0.3, 0.3))
    straight, slipped = reduce(ms, pan, sampling), reduce(ms, pan, sampling, (0.5, 0.0))
    assert slipped.sampling == straight.sampling
    assert not torch.allclose(slipped.ms, straight.ms)
    torch.testing.assert_close(slipped.pan, straight.pan)
