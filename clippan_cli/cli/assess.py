"""``clippan assess``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from clippan_cli.cli.console import Console, guarded, stopping
from clippan_cli.cli.params import (
    Bands,
    Consistency,
    Device,
    GdalConfig,
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
    parse_bands,
    parse_jobs,
    parse_nodata,
    parse_pairs,
    parse_register,
    parse_size,
)
from clippan_cli.errors import QualityError, UsageError


@guarded
def assess(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HRMS] MS PAN",
            help="The sharpened image, the multispectral and the panchromatic raster; no HRMS to compare methods.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Write the report, one HTML file.", metavar="FILE", show_default=False),
    ] = None,
    ms: MsFiles = None,
    pan: PanFile = None,
    reference: Annotated[
        str | None, typer.Option(help="A truth on PAN's grid: adds ERGAS, SAM, Q2n, SCC, MPSNR, SSIM.", metavar="FILE")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Compare methods at both resolutions: gsa,mtf-glp-hpm-r,…", metavar="NAMES")
    ] = None,
    method: Annotated[
        str | None, typer.Option("-m", "--method", help="One method, with --reduced.", metavar="NAME")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model, judged as methods are; alone, or beside those of --compare.", metavar="ID|DIR"),
    ] = None,
    reduced: Annotated[
        bool, typer.Option("--reduced", help="One scale down only, where the measured MS is the truth (Wald).")
    ] = False,
    consistency: Consistency = 2,
    convention: Annotated[
        str,
        typer.Option(
            envvar="CLIPPAN_CONVENTION",
            metavar="scene|dlpan",
            help="The scene's own optics and phase, or the benchmark's, to compare with published tables.",
        ),
    ] = "scene",
    bidx: Bands = None,
    maps: Annotated[
        str | None, typer.Option(help="Write D_s, D_λ and spectral error as GeoTIFFs into this folder.", metavar="DIR")
    ] = None,
    min_hqnr: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail with exit code 7 below this HQNR.", metavar="VALUE")
    ] = None,
    min_qnr: Annotated[float | None, typer.Option(min=0, max=1, help="The same for QNR.", metavar="VALUE")] = None,
    max_r_ergas: Annotated[
        float | None, typer.Option(min=0, help="Fail with exit code 7 above this R-ERGAS (percent).", metavar="VALUE")
    ] = None,
    max_ergas: Annotated[
        float | None, typer.Option(min=0, help="The same for ERGAS against --reference.", metavar="VALUE")
    ] = None,
    register: Register = "auto",
    sensor: SensorId = None,
    mtf_gain: MtfGain = None,
    src_nodata: SrcNodata = None,
    warp: Warp = False,
    memory: MemoryBound = "2G",
    device: Device = "auto",
    jobs: Jobs = "ALL_CPUS",
    config: GdalConfig = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> None:
    """Say how good a sharpened image is, or which method suits a scene.

    Prints a table, beside interpolation (exp) and the best classical method; with -o a page to hand on.
    """
    names = _methods(compare, method, model, reduced=reduced)
    hrms, ms_files, pan_file = _files(inputs, ms, pan, with_image=not names)
    gates = {
        "hqnr": (min_hqnr, None),
        "qnr": (min_qnr, None),
        "r_ergas": (None, max_r_ergas),
        "ergas": (None, max_ergas),
    }
    if names and any(limit is not None for gate in gates.values() for limit in gate):
        raise UsageError(
            "a gate judges one image, not methods", "give an image: clippan assess hrms.tif ms.tif pan.tif"
        )
    if max_ergas is not None and reference is None:
        raise UsageError("--max-ergas needs a truth", "--reference gt.tif, or --max-r-ergas")
    gdal = parse_pairs(config, "--config", "GDAL_HTTP_TIMEOUT=30")

    import rasterio

    from clippan_cli.assessment.assess import assess as run
    from clippan_cli.assessment.options import AssessOptions

    options = AssessOptions(
        reference=reference,
        methods=names,
        reduced=reduced,
        consistency=consistency,
        convention=convention,
        bands=parse_bands(bidx),
        register=parse_register(register),
        sensor=sensor,
        mtf_gain=mtf_gain,
        src_nodata=parse_nodata(src_nodata, "--src-nodata"),
        warp=warp,
        memory=parse_size(memory),
        jobs=parse_jobs(jobs),
        device=device,
        report=output,
        maps=maps,
        overwrite=overwrite,
    )
    with rasterio.Env(**gdal), Console((context.obj or 0) - quiet) as console, stopping() as stop:
        document = run(ms_files, pan_file, hrms, options, console, stop)
    if json:
        as_json(document)
    else:
        from clippan_cli.cli.tables import print_assessment

        print_assessment(document)
    _pass(document, gates)


def _methods(compare: str | None, method: str | None, model: str | None, *, reduced: bool) -> tuple[str, ...]:
    """The methods to judge instead of an image."""
    if method is not None and not reduced:
        raise UsageError(
            "--method is judged one scale down: add --reduced", "or compare at both resolutions: --compare NAME"
        )
    if compare is not None and method is not None:
        raise UsageError("--compare and --method exclude each other", "--compare takes several names")
    names = tuple(name.strip() for name in (compare or method or "").split(",") if name.strip())
    names += () if model is None else (model,)
    if reduced and not names:
        raise UsageError(
            "--reduced needs a method or a model", "--reduced --method mtf-glp-hpm-r, or --compare gsa,bdsd-pc"
        )
    if compare is not None and not names:
        raise UsageError("--compare names no method", "--compare gsa,mtf-glp-hpm-r")
    return names


def _files(
    inputs: list[str] | None, ms: list[str] | None, pan: str | None, *, with_image: bool
) -> tuple[str | None, list[str], str]:
    """Which files are the image, MS and PAN.

    Raises:
        UsageError: Too many or too few.
    """
    rest = list(inputs or [])
    expected = with_image + (not ms) + (pan is None)
    if len(rest) != expected:
        what = "an image, MS and PAN" if with_image else "MS and PAN"
        example = (
            "clippan assess hrms.tif ms.tif pan.tif (methods without an image: --compare NAMES)"
            if with_image
            else "clippan assess ms.tif pan.tif --compare gsa,mtf-glp-hpm-r"
        )
        raise UsageError(f"give {what}: {len(rest)} files were given, {expected} expected", example)
    image = rest.pop(0) if with_image else None
    ms_files = ms or [rest.pop(0)]
    return image, ms_files, pan or rest.pop(0)


def _pass(document: dict[str, Any], gates: dict[str, tuple[float | None, float | None]]) -> None:
    """Fail if the image does not reach what was asked for.

    Raises:
        QualityError: It does not, with the numbers.
    """
    row = document["candidates"][0]
    values = {**(row.get("full") or {}), **(row.get("truth") or {})}
    failed = []
    for key, (least, most) in gates.items():
        if least is None and most is None:
            continue
        symbol, value = document["indices"][key]["symbol"], values.get(key)
        if value is None:
            failed.append(f"{symbol} has not enough data")
        elif least is not None and value < least:
            failed.append(f"{symbol} is {value:.4f}, at least {least:g} is asked for")
        elif most is not None and value > most:
            failed.append(f"{symbol} is {value:.4f}, at most {most:g} is asked for")
    if failed:
        raise QualityError("; ".join(failed), "look at the report (-o report.html) for where and why")
