"""What the user may say of an assessment."""

from __future__ import annotations

from dataclasses import dataclass, field

from clippan_cli.base import rerun
from clippan_cli.base.machine import MachineOptions
from clippan_cli.base.options import option
from clippan_cli.base.values import BANDS, NAMES
from clippan_cli.errors import UsageError
from clippan_cli.fusion import registry
from clippan_cli.opening.options import SceneOptions

CONVENTIONS = ("scene", "dlpan")


@dataclass(frozen=True, kw_only=True)
class AssessOptions:
    """Holds what the user may say of an assessment; the defaults suit an unknown scene.

    Args:
        reference: The file with a truth on PAN's grid.
        compare: The methods to compare, instead of judging a file.
        method: The one method to judge one scale down.
        model: The model to judge as methods are; alone, or beside those that are compared.
        reduced: Whether to judge one scale down only.
        consistency: The number of back-projections that end the compared methods.
        convention: The convention of the indices: ``"scene"`` or ``"dlpan"``.
        bands: The MS bands that the image holds, counted from 1; None for all.
        scene: What is said of the scene.
        machine: What is said of the machine.
        report: The HTML file to write.
        maps: The folder to write the maps into.
        overwrite: Whether existing files may be replaced.
    """

    report: str | None = option(None, "Writes the report, one HTML file.", "-o", "--output", metavar="FILE", place=True)
    reference: str | None = option(
        None, "Takes a truth on PAN's grid: adds ERGAS, SAM, Q2n, SCC, MPSNR, SSIM.", metavar="FILE", place=True
    )
    compare: tuple[str, ...] = option(
        (), "Compares methods at both resolutions: gsa,mtf-glp-hpm-r,…", metavar="NAMES", form=NAMES
    )
    method: str | None = option(None, "Names one method, with --reduced.", "-m", "--method", metavar="NAME")
    model: str | None = option(
        None, "Judges a model as methods are; alone, or beside those of --compare.", metavar="ID|DIR", place=True
    )
    reduced: bool = option(False, "Judges one scale down only, where the measured MS is the truth (Wald).")
    consistency: int = registry.consistency()
    convention: str = option(
        "scene",
        "Takes the scene's own optics and phase, or the benchmark's, to compare with published tables.",
        metavar="scene|dlpan",
        variable=True,
    )
    bands: tuple[int, ...] | None = option(
        None,
        "Names the MS bands that the image holds: 3, 1,2,3 or 2..4.",
        "-b",
        "--bidx",
        metavar="BANDS",
        form=BANDS,
        variable=True,
    )
    maps: str | None = option(
        None, "Writes D_s, D_λ and spectral error as GeoTIFFs into this folder.", metavar="DIR", place=True
    )
    scene: SceneOptions = field(default_factory=SceneOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)
    overwrite: bool = rerun.overwrite()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods and models to judge instead of an image."""
        named = self.compare or (() if self.method is None else (self.method,))
        return named if self.model is None else (*named, self.model)


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """Says how good an image must be.

    Args:
        min_hqnr: The least HQNR.
        min_qnr: The least QNR.
        max_r_ergas: The highest R-ERGAS, in percent.
        max_ergas: The highest ERGAS against a truth, in percent.
    """

    min_hqnr: float | None = option(None, "Fails with exit code 7 below this HQNR.", metavar="VALUE", least=0, most=1)
    min_qnr: float | None = option(None, "Fails with exit code 7 below this QNR.", metavar="VALUE", least=0, most=1)
    max_r_ergas: float | None = option(
        None, "Fails with exit code 7 above this R-ERGAS (percent).", metavar="VALUE", least=0
    )
    max_ergas: float | None = option(
        None, "Fails with exit code 7 above this ERGAS against --reference.", metavar="VALUE", least=0
    )


def check_methods(options: AssessOptions) -> None:
    """Refuse options that name methods and do not fit together.

    Raises:
        UsageError: They contradict one another.
    """
    if options.method is not None and not options.reduced:
        raise UsageError(
            "`method` is judged one scale down: add `reduced`", "or compare at both resolutions: `compare=NAME`"
        )
    if options.compare and options.method is not None:
        raise UsageError("`compare` and `method` exclude each other", "`compare` takes several names")
    if options.reduced and not options.methods:
        raise UsageError(
            "`reduced` needs a method or a model", "`reduced` `method=mtf-glp-hpm-r`, or `compare=gsa,bdsd-pc`"
        )
