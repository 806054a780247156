"""Who is judged: the image or the methods, and beside them the best classical method and interpolation."""

from __future__ import annotations

from dataclasses import dataclass

from clippan_cli.assessment.candidate import Candidate, Fused, Interpolated
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.assessment.record import Role
from clippan_cli.base.machine import Machine
from clippan_cli.fusion.consistency import total_halo
from clippan_cli.fusion.method import Method, Statistics
from clippan_cli.fusion.registry import CLASSICAL, CONSISTENCY, method
from clippan_cli.physics.sampling import Sampling

EXP = "exp"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Describes one who is judged.

    Args:
        name: The name it is called by.
        role: The role that it has.
        key: The name of the method that makes it; None for a file.
        method: The method; None for a file, and for interpolation, which is the convention's own.
        steps: The number of back-projections at its end.
    """

    name: str
    role: Role
    key: str | None = None
    method: Method | None = None
    steps: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """The statistics that its method asks for."""
        return () if self.method is None else self.method.features

    def halo(self, sampling: Sampling) -> int:
        """Return the PAN pixels that it looks beyond a window."""
        return 0 if self.method is None else total_halo(self.method, sampling, self.steps)

    def planes(self, sampling: Sampling) -> int:
        """Return the single images of a window that making it holds at its peak."""
        return 0 if self.method is None else self.method.planes(sampling)

    def candidate(self, statistics: Statistics, bands: tuple[int, ...]) -> Candidate:
        """Fit the method, and return what makes its product window by window.

        Args:
            statistics: What is known of the scene.
            bands: The MS bands to keep, counted from 0.
        """
        if self.method is None:
            return Interpolated(self.name)
        return Fused(self.name, self.halo(statistics.sampling), self.method.fit(statistics), self.steps, bands)


def line_up(options: AssessOptions, image: str | None, machine: Machine) -> tuple[Contender, ...]:
    """Say who is judged: the image or the methods first, the anchors last.

    Args:
        options: What the user said.
        image: The name of the image; None to compare methods.
        machine: The machine that computes models.
    """
    # The anchor is always the same; what the user compares ends as the user says.
    classical = Contender(
        name=_named(CLASSICAL, CONSISTENCY),
        role="classical",
        key=CLASSICAL,
        method=method(CLASSICAL),
        steps=CONSISTENCY,
    )
    anchors = (classical, Contender(name=EXP, role="interpolation", key=EXP))
    if image is not None:
        taken = image in [anchor.name for anchor in anchors]
        return (Contender(name=f"{image} (the image)" if taken else image, role="result"), *anchors)
    steps = options.consistency
    compared = (
        Contender(
            name=_named(key, steps),
            role="method",
            key=key,
            method=method(key, machine.device, machine.precision),
            steps=steps,
        )
        for key in dict.fromkeys(options.methods)
        if key != EXP and _named(key, steps) != classical.name
    )
    return (*compared, *anchors)


def _named(key: str, steps: int) -> str:
    return key if steps == 0 else f"{key} + {steps} BP"
