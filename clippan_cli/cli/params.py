"""Arguments that commands share: the files of a scene, the folders of many, and the folder that is written."""

from __future__ import annotations

from typing import Annotated

import typer

from clippan_cli.errors import UsageError

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
