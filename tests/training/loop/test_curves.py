from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from clippan_cli.training.loop.curves import draw_curves


def test_a_log_becomes_a_picture(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    log.write_text(
        "iteration,seconds,rate,error,angle,gradient,hqnr\n1,0.1,1e-3,2,3,0.5,0.9\n2,0.2,1e-3,1,2,0.4,0.95\n"
    )
    draw_curves(log, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("terms", ["a", "a,b,c,d,e,f"])
@pytest.mark.parametrize("checks", ["x", "x_y,z,w"])
@pytest.mark.parametrize("lines", [1, 3])
def test_any_number_of_losses_checks_and_lines(tmp_path: Path, terms: str, checks: str, lines: int) -> None:
    head = f"iteration,seconds,rate,{terms},gradient,{checks}"
    row = ",".join(["1"] * (head.count(",") + 1))
    (tmp_path / "log").write_text("\n".join([head, *[row] * lines]) + "\n")
    draw_curves(tmp_path / "log", tmp_path / "picture.png")
    height, width = imread(tmp_path / "picture.png").shape[:2]
    assert (height, width) == (400, 450 * (2 + checks.count(",")))


def test_numbers_that_are_none_are_borne(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("iteration,seconds,rate,a,gradient,x\n1,0,1,nan,inf,nan\n2,0,1,1,1,inf\n")
    draw_curves(tmp_path / "log", tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").shape[:2] == (400, 900)
