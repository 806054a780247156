"""What each part of CLIPPan is worth: the paper's tables 2 to 5, on the scenes at hand, with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.files import replace_table
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.errors import OutputError, UsageError
from clippan_cli.modelstore.supervisor import load_supervisor
from clippan_cli.supervision.forms import INPUTS
from clippan_cli.supervision.prompts import wordings
from clippan_cli.training.adapt import Classroom, adapt_on, read_clip, stage_one_methods
from clippan_cli.training.data.surveyed_scenes import SIDE, survey_scenes
from clippan_cli.training.loop.distributed import Group, check_alone
from clippan_cli.training.objectives.stage_one import LOSSES as STAGE_ONE
from clippan_cli.training.objectives.stage_two import LOSSES, PAPER
from clippan_cli.training.objectives.truth import TRUTH
from clippan_cli.training.objectives.without_truth import INDICES
from clippan_cli.training.options import NONE, AblateOptions, AdaptOptions, TrainOptions
from clippan_cli.training.train import Ground, loss_weights, stage_two_methods, train_on, watches

TABLES = ("losses", "backbones", "stage1", "input", "prompts")
"""The paper's tables 2, 1, 3, 4 and 5."""

TABLE = "ablation.csv"

COLUMNS = (*TRUTH, *INDICES)
"""The indices of a table: before the truth one scale down, and at full resolution."""

BACKBONES = ("pnn", "lambda-pnn", "arbrpn", "lformer", "pan-mamba")
"""The networks of the paper's Table 1."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one line of a table.

    Args:
        variant: The line's name.
        means: The mean of each index over the seeds.
        spread: The standard deviation of each index over the seeds.
    """

    variant: str
    means: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A table, trained.

    Args:
        output: The folder of the table.
        table: The name of the table.
        seeds: The number of trainings of each line.
        rows: The lines of the table.
        beside: The indices of interpolation and formulas, and of the model that was begun with.
    """

    output: str
    table: str
    seeds: int
    rows: list[Row]
    beside: dict[str, dict[str, float]]

    def lines(self) -> Iterator[str]:
        """Write the table for people."""
        yield f"{'':<24}" + "".join(f"{name:>18}" for name in COLUMNS)
        for name, row in self.beside.items():
            yield f"{name:<24}" + "".join(f"{row[index]:>18.4f}" for index in COLUMNS)
        for line in self.rows:
            cells = "".join(f"{line.means[i]:>10.4f} ±{line.spread[i]:.4f}" for i in COLUMNS)
            yield f"{line.variant:<24}{cells}"


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Args:
        name: The name of the line, for people.
        adapting: How the supervisor is adapted.
        training: How the network is trained.
    """

    name: str
    adapting: AdaptOptions
    training: TrainOptions


def variants(table: str, options: TrainOptions) -> list[Variant]:
    """Return the lines of a table.

    Raises:
        UsageError: There is no such table.
    """
    if table not in TABLES:
        raise UsageError(f"unknown table {table!r}", "known: " + ", ".join(TABLES))
    loss_weights(options)
    if not watches(options):
        raise UsageError("without the language loss the lines would not differ", "give it a weight, and a supervisor")
    options = replace(options, losses={"language": PAPER["language"], **options.losses})
    adapting = options.adapting()
    weights = {**LOSSES, **PAPER, **options.losses}

    def only(kept: Sequence[str]) -> dict[str, float]:
        return {key: weights[key] * (key in kept) for key in weights}

    if table == "backbones":
        ways = {"reduced": ("truth",), "full": ("spectral", "spatial", "quality")}
        return [
            Variant(f"{name}{mark}, {way}", adapting, replace(options, backbone=name, losses=only((*kept, *more))))
            for name in BACKBONES
            for way, kept in ways.items()
            for mark, more in (("", ()), ("-C", ("language",)))
        ]
    if table == "losses":
        kinds = ("spectral", "spatial", "quality")
        lines = {
            "spectral + spatial": kinds[:2],
            "quality": kinds[2:],
            "all three": kinds,
            "+ language": (*kinds, "language"),
            "+ teacher": (*kinds, "teacher"),
            "+ language + teacher": (*kinds, "language", "teacher"),
        }
        return [
            *(Variant(name, adapting, replace(options, losses=only(kept))) for name, kept in lines.items()),
            Variant("as given", adapting, options),
        ]
    if table == "stage1":
        zero = dict.fromkeys(STAGE_ONE, 0.0)
        steps = {"scene": ("scene",), "+ type": ("scene", "type"), "+ fusion": ("scene", "type", "fusion")}
        return [
            Variant("no language", adapting, replace(options, supervisor=NONE)),
            *(
                Variant(name, replace(adapting, losses={**zero, **{key: STAGE_ONE[key] for key in kept}}), options)
                for name, kept in steps.items()
            ),
        ]
    if table == "input":
        return [Variant(kind, replace(adapting, clip=replace(options.clip, ms_input=kind)), options) for kind in INPUTS]
    return [Variant(name, replace(adapting, clip=replace(options.clip, prompt=name)), options) for name in wordings()]


def ablate(
    scenes: Sequence[str],
    output: str | Path,
    table: str,
    options: AblateOptions | None = None,
    listener: Listener | None = None,
    *,
    stop: Event | None = None,
) -> Ablation:
    """Train every variant of a table alike, with several seeds.

    Args:
        scenes: Folders of scenes, lists, or collections.
        output: A folder for the table and for all that is trained.
        table: The name of the table, one of :data:`TABLES`.
        options: What the variants have in common, and how many seeds there are; None for the defaults.
        listener: Hears of progress.
        stop: Set it to stop after the step in work.

    Returns:
        The table: for each line, means over the seeds and their standard deviations.

    Raises:
        UsageError: There is no such table.
        OutputError: The folder holds a table already.
    """
    check_alone("clippan ablate")
    options = options or AblateOptions()
    hears, folder = listener or Deaf(), Path(output)
    training = options.training
    lines = variants(table, training)
    if (folder / TABLE).exists() and not (training.overwrite or training.resume):
        raise OutputError(f"{folder} holds a table", "choose another folder, or replace it with `overwrite`")
    group = Group(device=choose_device(training.device))
    room = _open_room(scenes, training, lines, group.device, hears)
    bench = _Bench(folder=folder, room=room, group=group, hears=hears, stop=stop or Event())
    rows: list[Row] = []
    for line in lines:
        found = [bench.train(line, seed) for seed in range(training.seed, training.seed + options.seeds)]
        rows.append(_summarise(line.name, found))
        _write(folder / TABLE, rows)
    beside = {name: dict(row) for name, row in found[0].items() if name != "model"}
    return Ablation(output=str(folder), table=table, seeds=options.seeds, rows=rows, beside=beside)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What all trainings of a table share: scenes, surveyed once, CLIP, read once, and supervisors.

    Args:
        folder: The folder of all that is made.
        room: The scenes and CLIP; there is always a line that needs it.
        group: The process, and the device that it computes on.
        hears: Hears of progress.
        stop: Stops a training after the step in work.
        supervisors: The supervisors that are made already, with their options.
    """

    folder: Path
    room: Classroom
    group: Group
    hears: Listener
    stop: Event
    supervisors: list[tuple[AdaptOptions, Path]] = field(default_factory=list)

    def train(self, line: Variant, seed: int) -> dict[str, dict[str, float]]:
        """Train one line, and say how it stands on the tiles kept aside."""
        self.hears.say(f"{line.name}, seed {seed}")
        options = replace(line.training, seed=seed)
        supervisor = None
        if loss_weights(options)["language"]:
            path = self._adapt(replace(line.adapting, seed=seed, device=options.device, resume=options.resume))
            supervisor = load_supervisor(path, encoder=self.room.encoder)
        place = self.folder / f"{line.name.replace(' ', '_')}-{seed}"
        ground = Ground(self.room.sites, supervisor)
        trained = train_on(ground, place, options, self.group, Deaf(), stop=self.stop)
        held = trained.record.training.held_out
        self.hears.say(", ".join(f"{name} {held['model'][name]:.4f}" for name in COLUMNS))
        return held

    def _adapt(self, options: AdaptOptions) -> Path:
        """Return the folder of a supervisor; lines that ask for the same share it."""
        for known, path in self.supervisors:
            if known == options:
                return path
        path = self.folder / f"supervisor-{len(self.supervisors)}"
        adapt_on(self.room, path, options, Deaf(), self.stop)
        self.supervisors.append((options, path))
        return path


def _open_room(
    scenes: Sequence[str], options: TrainOptions, lines: Sequence[Variant], device: torch.device, hears: Listener
) -> Classroom:
    """Read CLIP and survey the scenes for all that one of the lines needs."""
    encoder = read_clip(options.clip, Deaf())
    weights = {name: max(loss_weights(line.training)[name] for line in lines) for name in loss_weights(options)}
    methods = stage_one_methods() | stage_two_methods(options, weights, device)
    return Classroom(survey_scenes(scenes, SIDE, methods, options.scene, hears), encoder)


def _summarise(name: str, found: Sequence[dict[str, dict[str, float]]]) -> Row:
    """Return mean and standard deviation of each index over the seeds."""
    values = {index: [held["model"][index] for held in found] for index in COLUMNS}
    spread = {index: statistics.stdev(each) if len(each) > 1 else 0.0 for index, each in values.items()}
    return Row(
        variant=name,
        means={index: round(statistics.fmean(each), 5) for index, each in values.items()},
        spread={index: round(each, 5) for index, each in spread.items()},
    )


def _write(path: Path, rows: Sequence[Row]) -> None:
    lines: list[list[object]] = [
        ["variant", *(column for index in COLUMNS for column in (index, f"{index}_sd"))],
        *([row.variant, *(part[i] for i in COLUMNS for part in (row.means, row.spread))] for row in rows),
    ]
    try:
        replace_table(path, lines)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "free some space") from error
