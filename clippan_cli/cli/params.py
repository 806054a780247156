"""Options that commands share, and how their texts are read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from clippan_cli.errors import UsageError

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MS PAN",
        help="The multispectral and the panchromatic raster: anything GDAL opens. With --ms and --pan, none.",
        show_default=False,
    ),
]
MsFiles = Annotated[
    list[str] | None,
    typer.Option("--ms", help="MS as several single-band files, one option each.", metavar="FILE", show_default=False),
]
PanFile = Annotated[str | None, typer.Option("--pan", help="PAN, if not given as an argument.", metavar="FILE")]
Register = Annotated[
    str,
    typer.Option(
        envvar="CLIPPAN_REGISTER",
        metavar="auto|off|DY,DX",
        help="Measure and correct the shift between MS and PAN, leave it, or give it (rows, columns, in MS pixels).",
    ),
]
SensorId = Annotated[
    str | None,
    typer.Option("--sensor", envvar="CLIPPAN_SENSOR", help="Sensor, if tags and names do not tell.", metavar="ID"),
]
MtfGain = Annotated[
    float | None,
    typer.Option(
        envvar="CLIPPAN_MTF_GAIN",
        min=0.01,
        max=0.99,
        help="MTF gain of all bands at the MS Nyquist frequency, instead of the sensor's.",
    ),
]
SrcNodata = Annotated[
    str | None,
    typer.Option(
        envvar="CLIPPAN_SRC_NODATA", metavar="VALUE|nan|none", help="Nodata value of the inputs; none: all is valid."
    ),
]
Warp = Annotated[bool, typer.Option("--warp", envvar="CLIPPAN_WARP", help="Reproject MS if its CRS is not PAN's.")]
Json = Annotated[bool, typer.Option("--json", envvar="CLIPPAN_JSON", help="Print one JSON document on stdout.")]
Quiet = Annotated[int, typer.Option("-q", "--quiet", count=True, help="Say nothing but errors.", show_default=False)]
Consistency = Annotated[
    int,
    typer.Option(
        envvar="CLIPPAN_CONSISTENCY", min=0, max=20, help="Back-projections onto the measured MS; 0 for none."
    ),
]
Bands = Annotated[
    list[str] | None,
    typer.Option(
        "-b",
        "--bidx",
        envvar="CLIPPAN_BIDX",
        metavar="BANDS",
        help="MS bands that the image holds: 3, 1,2,3 or 2..4.",
        show_default=False,
    ),
]
MemoryBound = Annotated[str, typer.Option(envvar="CLIPPAN_MEMORY", metavar="SIZE", help="Bound of the process.")]
Device = Annotated[str, typer.Option(envvar="CLIPPAN_DEVICE", metavar="auto|cpu|cuda[:N]", help="Where to compute.")]
Iterations = Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")]
Rate = Annotated[float, typer.Option(min=0, help="Highest learning rate.")]
Angle = Annotated[float, typer.Option(min=0, help="Weight of the spectral angle beside the error.")]
InGraph = Annotated[int, typer.Option("--consistency", min=0, max=20, help="Back-projections inside the graph.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31, help="Of everything random.")]
Every = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
ResumeTraining = Annotated[bool, typer.Option("--resume", help="Continue a training that was stopped or killed.")]
Scenes = Annotated[
    list[str],
    typer.Option(
        help="Folder with an MS and a PAN raster, or with folders of such; or a CSV or TOML that lists them.",
        metavar="DIR|LIST",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Tiles in a step.")]
Readers = Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes that read tiles; 0: none of their own.")]
Clip = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="CLIP's architecture, as open_clip names it, or its configuration.")
]
ClipWeights = Annotated[
    str | None,
    typer.Option(
        envvar="CLIPPAN_CLIP_WEIGHTS", metavar="FILE|TAG|none", help="CLIP's weights; none: untrained, for trials only."
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch CLIP's weights if they are not on this machine.")]
Precision = Annotated[str, typer.Option(metavar="fp32|bf16", help="Of CLIP.")]
MsInput = Annotated[
    str, typer.Option("--ms-input", metavar="conv|pca|rgb|gbnir", help="How MS bands become CLIP's three channels.")
]
Prompt = Annotated[str, typer.Option(metavar="NAME", help="Wording for HRMS: wald, khan, first, second, noise …")]
PromptFile = Annotated[
    str | None, typer.Option("--prompts", metavar="FILE", help="TOML with wordings of your own.", show_default=False)
]
Loss = Annotated[
    list[str] | None,
    typer.Option("--loss", metavar="NAME=WEIGHT", help="Weight of a loss; 0 switches it off.", show_default=False),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Jobs = Annotated[str, typer.Option("-j", "--jobs", envvar="CLIPPAN_JOBS", metavar="N|ALL_CPUS", help="Threads.")]
GdalConfig = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="KEY=VALUE", help="GDAL configuration option.", show_default=False),
]


def check_resume(*, overwrite: bool, resume: bool) -> None:
    """Refuse to continue and to begin again at once.

    Raises:
        UsageError: Both were asked for.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other", "--resume continues; --overwrite starts again")


def scene_files(inputs: list[str] | None, ms: list[str] | None, pan: str | None) -> tuple[list[str], str]:
    """Which files are MS and PAN.

    Raises:
        UsageError: Too many or too few.
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


def parse_register(text: str) -> str | tuple[float, float]:
    """``auto``, ``off``, or two numbers.

    Raises:
        UsageError: Something else.
    """
    if text in ("auto", "off"):
        return text
    try:
        row, col = map(float, text.split(","))
        if not math.isfinite(row + col):
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(
            f"--register {text!r} is not auto, off or DY,DX", "for example --register=-0.5,0.25"
        ) from error
    return row, col


def parse_nodata(text: str | None, option: str) -> float | str | None:
    """A number, ``nan``, or ``none``.

    Raises:
        UsageError: Something else.
    """
    if text is None or text.lower() in ("none", "null"):
        return None if text is None else "none"
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not a number, nan or none", "for example --src-nodata 0") from error


def parse_size(text: str) -> int:
    """Bytes from ``2G``, ``512M`` or ``1.5GiB``.

    Raises:
        UsageError: Not a size.
    """
    match = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?)(i?B)?\s*", text, re.IGNORECASE)
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or number <= 0:
        raise UsageError(f"{text!r} is not an amount of memory", "for example --memory 2G")
    return int(number * 1024 ** " KMGT".index(match[2].upper() or " "))


def parse_jobs(text: str) -> int:
    """A number of threads; 0 for all processors.

    Raises:
        UsageError: Not a number.
    """
    if text.upper() == "ALL_CPUS":
        return 0
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--jobs {text!r} is not a number of threads", "a number, or ALL_CPUS")
    return int(text)


def parse_bands(texts: list[str] | None) -> tuple[int, ...] | None:
    """Band numbers from ``3``, ``1,2,3`` and ``2..4``.

    Raises:
        UsageError: Not band numbers.
    """
    if not texts:
        return None
    bands: list[int] = []
    for part in ",".join(texts).split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        if match is None:
            raise UsageError(f"--bidx {part!r} is not a band", "for example -b 3,2,1 or -b 1..4")
        chosen = range(int(match[1]), int(match[2] or match[1]) + 1)
        if not chosen:
            raise UsageError(f"--bidx {part!r} runs backwards", "for example -b 3,2,1 or -b 1..4")
        bands += chosen
    return tuple(bands)


def parse_pairs(texts: list[str] | None, option: str, example: str) -> dict[str, str]:
    """Options of the form ``KEY=VALUE``.

    Raises:
        UsageError: One has no ``=``.
    """
    pairs = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"{option} {text!r} is not NAME=VALUE", f"for example {option} {example}")
        pairs[key.upper()] = value
    return pairs


def refuse(context: typer.Context, names: Sequence[str], beside: str, why: str) -> None:
    """Refuse options that were given but would do nothing.

    Args:
        context: Of the command.
        names: Of the options, as parameters.
        beside: The option that makes them idle.
        why: For people.

    Raises:
        UsageError: One of them was given.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(max(each.opts, key=len) for each in context.command.params if each.name == name)
            raise UsageError(f"{option} cannot stand beside {beside}", why)


def parse_losses(texts: list[str] | None) -> dict[str, float]:
    """Weights of losses by their names.

    Raises:
        UsageError: Not a weight.
    """
    weights = {}
    for name, text in parse_pairs(texts, "--loss", "language=0.1").items():
        try:
            weights[name.lower()] = float(text)
            if not 0 <= weights[name.lower()] < math.inf:
                raise ValueError(text)
        except ValueError as error:
            raise UsageError(f"--loss {name.lower()}={text}: not a weight", "0, or a number above it") from error
    return weights


def parse_settings(texts: list[str] | None) -> dict[str, int | float | str]:
    """Settings of a network; numbers are numbers."""
    return {name.lower(): _value(text) for name, text in parse_pairs(texts, "--set", "width=32").items()}


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def as_json(document: dict[str, Any]) -> None:
    """The one place that writes a document to stdout."""
    import json

    typer.echo(json.dumps(document, indent=2, allow_nan=False))
