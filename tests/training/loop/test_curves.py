from __future__ import annotations

from pathlib import Path

from clippan_cli.training.loop.curves import draw_curves


def test_a_log_becomes_a_picture(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    log.write_text(
        "iteration,seconds,rate,error,angle,gradient,hqnr\n1,0.1,1e-3,2,3,0.5,0.9\n2,0.2,1e-3,1,2,0.4,0.95\n"
    )
    draw_curves(log, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
