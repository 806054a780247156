"""Pixels of today beside those kept in ``pixels.json``: nobody changes them without raising ``ALGORITHM``.

Where they may change, raise ``ALGORITHM`` in ``clippan_cli/base/version.py``, then keep the new ones:
``python -m tests.test_pixels``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from clippan_cli.base.version import ALGORITHM
from clippan_cli.cli.app import app
from tests.conftest import read

KEPT = Path(__file__).with_name("pixels.json")
SCENES = Path(__file__).parents[1] / "sample_scenes"
RUNS = {
    "collar_4band": ("--method", "mtf-glp-hpm-r"),
    "landsat_like": ("--method", "mtf-glp-hpm-r"),
    "town_8band": ("--model", "injector-4", "--no-guard"),
}
STEP = 53  # no multiple of a ratio: every place within an MS pixel is met


def pixels(scene: str, folder: Path) -> NDArray[Any]:
    """Every 53rd pixel of a sample scene, sharpened: ``(C, H / 53, W / 53)``."""
    out = folder / f"{scene}.tif"
    files = [str(SCENES / scene / name) for name in ("ms.tif", "pan.tif")]
    result = CliRunner().invoke(
        app, ["sharpen", *files, "-o", str(out), "--device", "cpu", "--precision", "fp32", *RUNS[scene]]
    )
    assert result.exit_code == 0, result.output
    return read(str(out))[:, ::STEP, ::STEP].astype(int)


@pytest.mark.parametrize("scene", RUNS)
def test_pixels_change_with_the_algorithm_only(scene: str, tmp_path: Path) -> None:
    kept = json.loads(KEPT.read_text())
    assert kept["algorithm"] == ALGORITHM, "ALGORITHM was raised: run python -m tests.test_pixels and commit its file"
    apart = np.abs(pixels(scene, tmp_path) - np.asarray(kept[scene]))
    # Another processor or library rounds a few pixels the other way.
    same = apart.max() <= 1 and np.mean(apart > 0) <= 0.01
    assert same, f"pixels moved by up to {apart.max()} DN: if they may, raise ALGORITHM (clippan_cli/base/version.py)"


def keep() -> None:
    """Write the pixels of today."""
    with tempfile.TemporaryDirectory() as folder:
        found = {scene: pixels(scene, Path(folder)).tolist() for scene in RUNS}
    lines = [json.dumps("algorithm") + ": " + json.dumps(ALGORITHM)]
    lines += [f"{json.dumps(scene)}: {json.dumps(found[scene], separators=(',', ':'))}" for scene in RUNS]
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    keep()
