"""``clippan info``."""

from __future__ import annotations

import typer

from clippan_cli.cli.console import Console, guarded
from clippan_cli.cli.params import (
    GdalConfig,
    Inputs,
    Json,
    MsFiles,
    MtfGain,
    PanFile,
    Quiet,
    Register,
    SensorId,
    SrcNodata,
    Warp,
    as_json,
    parse_nodata,
    parse_pairs,
    parse_register,
    scene_files,
)


@guarded
def info(
    context: typer.Context,
    inputs: Inputs = None,
    ms: MsFiles = None,
    pan: PanFile = None,
    register: Register = "auto",
    sensor: SensorId = None,
    mtf_gain: MtfGain = None,
    src_nodata: SrcNodata = None,
    warp: Warp = False,
    config: GdalConfig = None,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """The doctor: how MS and PAN fit together, and what sharpen would do with them."""
    ms_files, pan_file = scene_files(inputs, ms, pan)
    gdal = parse_pairs(config, "--config", "GDAL_HTTP_TIMEOUT=30")

    import rasterio

    from clippan_cli.sharpening.options import Options
    from clippan_cli.sharpening.sharpen import explain

    options = Options(
        register=parse_register(register),
        sensor=sensor,
        mtf_gain=mtf_gain,
        src_nodata=parse_nodata(src_nodata, "--src-nodata"),
        warp=warp,
    )
    with rasterio.Env(**gdal), Console(-1 if json else (context.obj or 0) - quiet - 1) as console:
        document = explain(ms_files, pan_file, options=options, listener=console)
    if json:
        as_json(document)
    else:
        from clippan_cli.cli.tables import print_scene

        print_scene(document)
