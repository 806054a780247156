"""``clippan sharpen``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import (
    Bands,
    Consistency,
    Device,
    GdalConfig,
    Inputs,
    Jobs,
    Json,
    MemoryBound,
    MsFiles,
    MtfGain,
    Overwrite,
    PanFile,
    Quiet,
    Register,
    SensorId,
    SrcNodata,
    Warp,
    as_json,
    check_resume,
    parse_bands,
    parse_jobs,
    parse_nodata,
    parse_pairs,
    parse_register,
    parse_size,
    scene_files,
)
from clippan_cli.errors import UsageError

if TYPE_CHECKING:
    from clippan_cli.assessment.options import AssessOptions
    from clippan_cli.sharpening.options import Options


@guarded
def sharpen(
    context: typer.Context,
    inputs: Inputs = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="The file to write.", metavar="FILE", show_default=False)
    ] = None,
    ms: MsFiles = None,
    pan: PanFile = None,
    model: Annotated[
        str,
        typer.Option(
            envvar="CLIPPAN_MODEL", metavar="ID|DIR", help="A model: one that ships (clippan models list), or a folder."
        ),
    ] = "injector-2",
    method: Annotated[
        str | None,
        typer.Option(
            envvar="CLIPPAN_METHOD",
            metavar="NAME",
            help="A classical method instead of a model: exp, brovey, gsa, bdsd-pc, mtf-glp-fs, mtf-glp-hpm-r, "
            "sr-d (slow), gdal-brovey.",
            show_default=False,
        ),
    ] = None,
    guard: Annotated[
        bool,
        typer.Option(
            "--guard/--no-guard",
            envvar="CLIPPAN_GUARD",
            help="Compare the model with classical methods on samples of the scene; fall back where it is worse.",
        ),
    ] = True,
    consistency: Consistency = 2,
    register: Register = "auto",
    sensor: SensorId = None,
    mtf_gain: MtfGain = None,
    src_nodata: SrcNodata = None,
    dst_nodata: Annotated[
        str | None,
        typer.Option(
            envvar="CLIPPAN_DST_NODATA",
            metavar="VALUE|nan|none",
            help="Nodata value of the output; none: internal mask.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "-t", "--dtype", envvar="CLIPPAN_DTYPE", metavar="TYPE", help="Pixel type; that of MS if not given."
        ),
    ] = None,
    bidx: Bands = None,
    aoi: Annotated[
        str | None, typer.Option(envvar="CLIPPAN_AOI", metavar="GEOJSON", help="Sharpen inside these polygons only.")
    ] = None,
    warp: Warp = False,
    driver: Annotated[
        str,
        typer.Option("--of", "--driver", envvar="CLIPPAN_DRIVER", metavar="GTiff|COG", help="Format of the output."),
    ] = "GTiff",
    creation: Annotated[
        list[str] | None,
        typer.Option(
            "--co",
            "--creation-option",
            envvar="CLIPPAN_CO",
            metavar="NAME=VALUE",
            help="GDAL creation option.",
            show_default=False,
        ),
    ] = None,
    overviews: Annotated[
        bool, typer.Option("--overviews", envvar="CLIPPAN_OVERVIEWS", help="Build overviews (a COG has them anyway).")
    ] = False,
    tile_size: Annotated[
        int | None,
        typer.Option(envvar="CLIPPAN_TILE_SIZE", min=64, help="Side of a tile in PAN pixels; chosen if not given."),
    ] = None,
    memory: MemoryBound = "2G",
    device: Device = "auto",
    jobs: Jobs = "ALL_CPUS",
    config: GdalConfig = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped or killed.")] = False,
    report: Annotated[
        str | None,
        typer.Option(help="Assess the result, and write this HTML file.", metavar="FILE", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Fuse an MS and a PAN scene into one sharp MS image on PAN's grid.

    Prints the path of the output. A record, FILE.clippan.json, is laid beside it.
    """
    ms_files, pan_file = scene_files(inputs, ms, pan)
    if output is None and not dry_run:
        raise UsageError("no output given", "-o hrms.tif")
    check_resume(overwrite=overwrite, resume=resume)
    gdal = parse_pairs(config, "--config", "GDAL_HTTP_TIMEOUT=30")

    import rasterio

    from clippan_cli.sharpening.options import Options
    from clippan_cli.sharpening.sharpen import explain
    from clippan_cli.sharpening.sharpen import sharpen as run

    options = Options(
        method=chosen_method(method, model),
        guard=guard,
        consistency=consistency,
        register=parse_register(register),
        sensor=sensor,
        mtf_gain=mtf_gain,
        src_nodata=parse_nodata(src_nodata, "--src-nodata"),
        dst_nodata=parse_nodata(dst_nodata, "--dst-nodata"),
        dtype=dtype,
        bands=parse_bands(bidx),
        driver=driver,
        creation=parse_pairs(creation, "--co", "COMPRESS=ZSTD"),
        overviews=overviews,
        aoi=aoi,
        warp=warp,
        tile_size=tile_size,
        memory=parse_size(memory),
        jobs=parse_jobs(jobs),
        device=device,
        overwrite=overwrite,
        resume=resume,
    )
    if report is not None and output is not None:
        from clippan_cli.assessment.checks import check_report

        taken = [*ms_files, pan_file, output, f"{output}.clippan.json", f"{output}.partial"]
        check_report(report, taken, overwrite=overwrite or resume)
    with rasterio.Env(**gdal), Console((context.obj or 0) - quiet) as console, stopping() as stop:
        if dry_run:
            document = explain(ms_files, pan_file, output, options, console)
        else:
            assert output is not None
            document = run(ms_files, pan_file, output, options, console, stop)
        _print(document, json=json, dry_run=dry_run)
        if report is not None and not dry_run:
            from clippan_cli.assessment.assess import assess

            assess(ms_files, pan_file, output, report_options(options, report), console, stop)
            console.say(f"report: {report}")


def _print(document: dict[str, Any], *, json: bool, dry_run: bool) -> None:
    """The result, as soon as it is there: what comes after may fail."""
    if json:
        as_json(document)
    elif dry_run:
        from clippan_cli.cli.tables import print_plan

        print_plan(document)
    else:
        typer.echo(document["output"])


def chosen_method(method: str | None, model: str) -> str:
    """What ``--method`` or else ``--model`` names.

    Raises:
        UsageError: There is no such method.
    """
    from clippan_cli.fusion.registry import METHODS

    if method is not None and method not in METHODS:
        raise UsageError(f"unknown method {method!r}", "known: " + ", ".join(METHODS))
    return method or model


def report_options(options: Options, report: str) -> AssessOptions:
    """How to assess what was sharpened with ``options``."""
    from clippan_cli.assessment.options import AssessOptions

    return AssessOptions(
        bands=options.bands,
        register=options.register,
        sensor=options.sensor,
        mtf_gain=options.mtf_gain,
        src_nodata=options.src_nodata,
        warp=options.warp,
        memory=options.memory,
        jobs=options.jobs,
        device=options.device,
        report=report,
        overwrite=True,
    )
