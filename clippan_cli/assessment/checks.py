"""What contradicts itself, or cannot be written, is refused before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clippan_cli.assessment.maps import TITLES
from clippan_cli.assessment.options import CONVENTIONS, AssessOptions, check_methods
from clippan_cli.base.files import check_parent
from clippan_cli.errors import OutputError, UsageError
from clippan_cli.fusion.registry import method


def check_options(options: AssessOptions, hrms: str | None, inputs: Sequence[str]) -> None:
    """Refuse before any work.

    Args:
        options: What the user said.
        hrms: The image to judge; None to compare methods.
        inputs: The files of MS and PAN.

    Raises:
        UsageError: The options contradict one another.
        OutputError: The report or the maps cannot be written.
    """
    check_methods(options)
    if options.convention not in CONVENTIONS:
        raise UsageError(f"unknown convention {options.convention!r}", "known: " + ", ".join(CONVENTIONS))
    if hrms is None and not options.methods:
        raise UsageError(
            "nothing to assess: neither an image nor methods are given",
            "clippan assess hrms.tif ms.tif pan.tif, or clippan assess ms.tif pan.tif --compare gsa,mtf-glp-hpm-r",
        )
    if hrms is not None and (options.methods or options.reduced):
        raise UsageError(
            "a finished image cannot be judged one scale down, nor beside other methods",
            "leave it out: clippan assess ms.tif pan.tif --compare … or --reduced --method …",
        )
    if options.convention == "dlpan" and options.reduced:
        raise UsageError("one scale down the scene's own convention holds", "leave out `convention=dlpan`")
    if options.convention == "dlpan" and options.scene.register != "auto":
        raise UsageError("DLPan's convention has a phase of its own: `register` has no place in it", "leave out one")
    if options.reduced and options.reference is not None:
        raise UsageError("one scale down MS is the truth: `reference` is for full resolution", "leave out one of them")
    if options.reduced and options.maps is not None:
        raise UsageError("there are no maps one scale down", "leave out `maps`, or `reduced`")
    for name in options.methods:
        method(name)
    taken = [*inputs, *filter(None, (hrms, options.reference))]
    if options.report is not None:
        check_report(options.report, taken, overwrite=options.overwrite)
    if options.maps is not None:
        _check_folder(Path(options.maps), [*taken, *filter(None, [options.report])], overwrite=options.overwrite)


def check_report(report: str, taken: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a report that cannot be written.

    Args:
        report: The HTML file to write.
        taken: The files that it must not replace.
        overwrite: Whether another existing file may be replaced.

    Raises:
        OutputError: The report cannot be written, with the reason.
    """
    path = Path(report)
    _refuse_taken(path, taken)
    if path.is_dir():
        raise OutputError(f"{path} is a folder", "give the name of an HTML file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "choose another name, or replace it with `overwrite`")
    check_parent(path)


def _check_folder(folder: Path, taken: Sequence[str], *, overwrite: bool) -> None:
    _refuse_taken(folder, taken)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is no folder", "give the name of a folder")
    check_parent(folder)
    for key in TITLES:
        path = folder / f"{key}.tif"
        _refuse_taken(path, taken)
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists", "choose another folder, or replace it with `overwrite`")


def _refuse_taken(path: Path, taken: Sequence[str]) -> None:
    if any(Path(name).resolve() == path.resolve() for name in taken):
        raise OutputError(f"{path} is an input or another output", "choose another name")
