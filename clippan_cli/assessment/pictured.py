"""What pictures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from clippan_cli.assessment.candidate import Candidate
from clippan_cli.assessment.judge import Findings, Judge
from clippan_cli.assessment.lattice import Lattice
from clippan_cli.assessment.tally import Maps
from clippan_cli.opening.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """Holds what pictures are drawn from.

    Args:
        scene: The scene.
        judge: The judge, who renders windows.
        findings: The findings of the pass at full resolution.
        lattice: The windows of that pass.
        candidates: The candidates that are shown beside MS and PAN; the first has maps.
        bands: The MS bands that the candidates hold, counted from 0.
    """

    scene: Scene
    judge: Judge
    findings: Findings
    lattice: Lattice
    candidates: tuple[Candidate, ...]
    bands: tuple[int, ...]

    @property
    def maps(self) -> Maps:
        """The maps of the first candidate; empty where there are none."""
        return self.findings.maps.get(self.candidates[0].name, {})
