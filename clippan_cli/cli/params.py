"""Arguments that commands share: the files of a scene, the folders of many, and the folder that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clippan_cli.base.listener import Listener
from clippan_cli.errors import UsageError
from clippan_cli.scene.find import LISTS

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MS PAN",
        help="The multispectral and the panchromatic raster, as GDAL opens them; --ms and --pan may stand in for them.",
        show_default=False,
    ),
]
MsFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--ms",
        help="Names a single-band file of MS; give one option for each band.",
        metavar="FILE",
        show_default=False,
    ),
]
PanFile = Annotated[str | None, typer.Option("--pan", help="Names PAN, where no argument does.", metavar="FILE")]
Scenes = Annotated[
    list[str],
    typer.Option(
        help="Names a folder with an MS and a PAN raster, or with folders of such; a CSV or TOML that lists them; a "
        "benchmark's HDF5 or MATLAB file (.h5, .hdf5, .mat), or a folder with such.",
        metavar="DIR|LIST|FILE",
    ),
]
Folder = Annotated[
    str, typer.Option("-o", "--output", help="Names the folder to write.", metavar="DIR", show_default=False)
]

NamedFolder = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        help="Names the folder to write; without it, it is named after the scenes.",
        metavar="DIR",
        show_default=False,
    ),
]


def name_folder(said: str | None, scenes: list[str], what: str, console: Listener) -> str:
    """Return the folder to write: the one that was said, or one here that is named after the scenes.

    Args:
        said: The folder that was said; None for none.
        scenes: The folders or lists of scenes.
        what: The word for what is written.
        console: Hears of the name.
    """
    if said is not None:
        return said
    place = Path(scenes[0])
    # A link is called by its own name.
    place = place if place.name.strip(".") else place.resolve()
    name = f"{place.stem if place.suffix.lower() in LISTS else place.name}-{what}"
    console.say(f"the {what} will be in ./{name} (--output names another folder)")
    return name


def scene_files(inputs: list[str] | None, ms: list[str] | None, pan: str | None) -> tuple[list[str], str]:
    """Tell which files are MS and PAN.

    Raises:
        UsageError: There are too many or too few.
    """
    rest = list(inputs or [])
    if not ms and rest:
        ms = [rest.pop(0)]
    if pan is None and rest:
        pan = rest.pop(0)
    if not ms or pan is None or rest:
        raise UsageError(
            "give one MS and one PAN" + (f": {rest[0]} is too much" if rest else ""),
            "clippan sharpen ms.tif pan.tif -o hrms.tif (or --ms B2.TIF --ms B3.TIF pan.tif)",
        )
    return ms, pan
