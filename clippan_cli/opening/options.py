"""The options of a scene, wherever one is opened."""

from __future__ import annotations

from dataclasses import dataclass

from clippan_cli.base.options import option
from clippan_cli.base.values import CONFIG, NODATA, SHIFT, Nodata, Register


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Holds what the user may say of a scene; the defaults suit an unknown one.

    Args:
        register: The shift of MS: ``"auto"``, ``"off"``, or (row, col) in MS pixels.
        sensor: The sensor's id; None to recognise it.
        mtf_gain: One MTF gain for all bands, instead of the sensor's.
        stated_optics: Whether to believe the stated MTF gains alone, and to measure none.
        src_nodata: The nodata value of the inputs, ``"none"`` for all valid, None to believe the files.
        warp: Whether to reproject an MS raster in another CRS.
        config: GDAL's configuration options.
    """

    register: Register = option(
        "auto",
        "Measures and corrects the shift between MS and PAN, leaves it, or takes yours (rows, columns in MS pixels).",
        metavar="auto|off|DY,DX",
        form=SHIFT,
        variable=True,
    )
    sensor: str | None = option(None, "Names the sensor, where the files do not tell.", metavar="ID", variable=True)
    mtf_gain: float | None = option(
        None,
        "Sets the MTF gain of all bands at the MS Nyquist frequency, instead of the sensor's.",
        least=0.01,
        most=0.99,
        variable=True,
    )
    stated_optics: bool = option(
        False, "Believes the stated MTF gains alone, and does not measure the optics.", variable=True
    )
    src_nodata: Nodata = option(
        None,
        "Sets the nodata value of the inputs; with none, all pixels are valid.",
        metavar="VALUE|nan|none",
        form=NODATA,
        variable=True,
    )
    warp: bool = option(False, "Reprojects MS if its CRS is not PAN's.", variable=True)
    config: dict[str, str] = option(
        {}, "Sets a GDAL configuration option.", metavar="KEY=VALUE", form=CONFIG, identity=False
    )
