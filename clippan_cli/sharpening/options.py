"""The options of a sharpening."""

from __future__ import annotations

from dataclasses import dataclass, field

from clippan_cli.base import rerun
from clippan_cli.base.machine import MachineOptions
from clippan_cli.base.options import option
from clippan_cli.base.values import BANDS, CREATION, NODATA, Nodata
from clippan_cli.errors import UsageError
from clippan_cli.fusion import registry
from clippan_cli.fusion.registry import DEFAULT, METHODS
from clippan_cli.opening.options import SceneOptions


@dataclass(frozen=True, kw_only=True)
class SharpenOptions:
    """Holds what the user may say of a sharpening; the defaults suit an unknown scene.

    Args:
        model: The id of a shipped model, or the folder of a model.
        method: The name of a classical method, instead of a model.
        guard: Whether a model that is worse than the classical methods gives way to them.
        consistency: The number of back-projections that end it.
        scene: What is said of the scene.
        dst_nodata: The nodata value of the output, ``"none"`` for an internal mask, None to choose.
        dtype: The pixel type of the output; None for that of MS.
        bands: The MS bands to write, counted from 1; None for all.
        aoi: The GeoJSON file with the polygons to sharpen.
        driver: The output's format: ``"GTiff"`` or ``"COG"``.
        creation: GDAL's creation options.
        overviews: Whether to build overviews in a GTiff.
        tile_size: The side of a tile in PAN pixels; None to choose.
        machine: What is said of the machine.
        overwrite: Whether an existing output may be replaced.
        resume: Whether to continue a run that was stopped or killed.
    """

    model: str = option(
        DEFAULT,
        "Names the model: one that ships (clippan models list), or a folder.",
        metavar="ID|DIR",
        variable=True,
        place=True,
    )
    method: str | None = option(
        None,
        f"Names a classical method instead of a model: {', '.join(METHODS)} (sr-d is slow).",
        metavar="NAME",
        variable=True,
    )
    guard: bool = option(
        True,
        "Compares the model with classical methods on samples of the scene, and falls back where it is worse.",
        variable=True,
    )
    consistency: int = registry.consistency()
    scene: SceneOptions = field(default_factory=SceneOptions)
    dst_nodata: Nodata = option(
        None,
        "Sets the nodata value of the output; none asks for an internal mask.",
        metavar="VALUE|nan|none",
        form=NODATA,
        variable=True,
    )
    dtype: str | None = option(
        None, "Sets the pixel type, instead of that of MS.", "-t", "--dtype", metavar="TYPE", variable=True
    )
    bands: tuple[int, ...] | None = option(
        None,
        "Chooses the MS bands that the output holds: 3, 1,2,3 or 2..4.",
        "-b",
        "--bidx",
        metavar="BANDS",
        form=BANDS,
        variable=True,
    )
    aoi: str | None = option(None, "Sharpens inside these polygons only.", metavar="GEOJSON", variable=True, place=True)
    driver: str = option(
        "GTiff", "Chooses the format of the output.", "--of", "--driver", metavar="GTiff|COG", variable=True
    )
    creation: dict[str, str] = option(
        {},
        "Sets a GDAL creation option.",
        "--co",
        "--creation-option",
        metavar="NAME=VALUE",
        form=CREATION,
        variable=True,
    )
    overviews: bool = option(False, "Builds overviews (a COG has them anyway).", variable=True)
    tile_size: int | None = option(
        None, "Sets the side of a tile in PAN pixels, instead of what fits the memory.", least=64, variable=True
    )
    machine: MachineOptions = field(default_factory=MachineOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()

    @property
    def fusion(self) -> str:
        """The name of the method or the model.

        Raises:
            UsageError: There is no such method.
        """
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"unknown method {self.method!r}", "known: " + ", ".join(METHODS))
        return self.method or self.model
