"""What each part of CLIPPan is worth: the paper's tables 2 to 5, on the scenes at hand, with their spread."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from clippan_cli.base.device import choose_device
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.errors import OutputError, UsageError
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.supervisor import load_supervisor
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import INPUTS
from clippan_cli.supervision.prompts import wordings
from clippan_cli.training.adapt import adapt_on
from clippan_cli.training.data.surveyed_scenes import Site, open_sites
from clippan_cli.training.loop.distributed import Group, alone
from clippan_cli.training.objectives.stage_one import LOSSES as STAGE_ONE
from clippan_cli.training.objectives.stage_one import REFERENCE
from clippan_cli.training.objectives.stage_two import LOSSES
from clippan_cli.training.options import AdaptOptions, TrainOptions
from clippan_cli.training.train import NONE, Ground, loss_weights, taught_by, train_on

TABLES = ("losses", "stage1", "input", "prompts")
"""The paper's tables 2, 3, 4 and 5."""

TABLE = "ablation.csv"

_INDICES = ("hqnr", "d_rho", "r_ergas")


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Args:
        name: For people.
        adapting: How its supervisor is made.
        training: How it trains.
    """

    name: str
    adapting: AdaptOptions
    training: TrainOptions


def variants(table: str, options: TrainOptions) -> list[Variant]:
    """The lines of a table.

    Raises:
        UsageError: There is no such table.
    """
    if table not in TABLES:
        raise UsageError(f"unknown table {table!r}", "known: " + ", ".join(TABLES))
    if not loss_weights(options)["language"]:
        raise UsageError("without the language loss the lines would not differ", "give it a weight, and a supervisor")
    adapting = options.adapting
    if table == "losses":
        weights = {**LOSSES, **options.losses}
        weights["spatial"] = weights["spatial"] or 1.0
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
            *(
                Variant(name, adapting, replace(options, losses={key: weights[key] * (key in kept) for key in weights}))
                for name, kept in lines.items()
            ),
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
        return [Variant(kind, replace(adapting, ms_input=kind), options) for kind in INPUTS]
    return [Variant(name, replace(adapting, prompt=name), options) for name in wordings()]


def ablate(
    scenes: Sequence[str],
    output: str | Path,
    table: str,
    options: TrainOptions,
    seeds: int,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Train every variant of a table alike, with several seeds.

    Args:
        scenes: Folders of scenes, or lists.
        output: A folder for the table and for all that is trained.
        table: One of :data:`TABLES`.
        options: What the variants have in common.
        seeds: How many.
        listener: Hears of progress.
        stop: Set it to stop after the step in work.

    Returns:
        The table: for each line, means over the seeds and their standard deviations.

    Raises:
        UsageError: There is no such table.
        OutputError: The folder holds a table already.
    """
    hears, folder = listener or Deaf(), Path(output)
    lines = variants(table, options)
    alone("--ablate")
    if (folder / TABLE).exists() and not (options.overwrite or options.resume):
        raise OutputError(f"{folder} holds a table", "choose another -o, or replace it with --overwrite")
    bench = _bench(scenes, folder, options, lines, hears, stop or Event())
    rows = []
    for line in lines:
        found = [bench.train(line, seed) for seed in range(options.seed, options.seed + seeds)]
        rows.append({"variant": line.name, **_summary(found)})
        _write(folder / TABLE, rows)
    reference = {name: dict(row) for name, row in found[0].items() if name != "model"}
    return {"output": str(folder), "table": table, "seeds": seeds, "rows": rows, "beside": reference}


@dataclass(frozen=True)
class _Bench:
    """What all trainings of a table share: scenes, surveyed once, CLIP, read once, and supervisors.

    Args:
        folder: For all that is made.
        sites: The scenes.
        encoder: CLIP; there is always a line that needs it.
        group: Where to compute.
        hears: Hears of progress.
        stop: Stops it.
        supervisors: Those that are made already, with their options.
    """

    folder: Path
    sites: Sequence[Site]
    encoder: Encoder
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
            supervisor = load_supervisor(path, encoder=self.encoder)
        place = self.folder / f"{line.name.replace(' ', '_')}-{seed}"
        trained = train_on(
            Ground(self.sites, self.encoder.side, supervisor), place, options, self.group, Deaf(), self.stop
        )
        held = trained.record.training.held_out
        self.hears.say(", ".join(f"{name} {held['model'][name]:.4f}" for name in _INDICES))
        return held

    def _adapt(self, options: AdaptOptions) -> Path:
        """A supervisor; lines that ask for the same share it."""
        for known, path in self.supervisors:
            if known == options:
                return path
        path = self.folder / f"supervisor-{len(self.supervisors)}"
        adapt_on(self.sites, self.encoder, path, options, Deaf(), self.stop)
        self.supervisors.append((options, path))
        return path


def _bench(
    scenes: Sequence[str],
    folder: Path,
    options: TrainOptions,
    lines: Sequence[Variant],
    hears: Listener,
    stop: Event,
) -> _Bench:
    group = Group(device=choose_device(options.device))
    how = options.adapting
    encoder = Encoder(how.clip, how.clip_weights, download=how.download, precision=how.precision)
    weights = {name: max(loss_weights(line.training)[name] for line in lines) for name in loss_weights(options)}
    methods: dict[str, Method] = {REFERENCE: method(REFERENCE), **taught_by(options, weights, group.device)}
    return _Bench(folder, open_sites(scenes, encoder.side, methods, hears), encoder, group, hears, stop)


def _summary(found: Sequence[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Mean and standard deviation of each index over the seeds."""
    row = {}
    for name in _INDICES:
        values = [held["model"][name] for held in found]
        row[name] = round(statistics.fmean(values), 5)
        row[f"{name}_sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else 0.0
    return row


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "free some space") from error


def as_lines(document: dict[str, Any]) -> Iterator[str]:
    """The table for people."""
    yield f"{'':<24}" + "".join(f"{name:>18}" for name in _INDICES)
    for name, row in document["beside"].items():
        yield f"{name:<24}" + "".join(f"{row[index]:>18.4f}" for index in _INDICES)
    for row in document["rows"]:
        yield f"{row['variant']:<24}" + "".join(f"{row[i]:>10.4f} ±{row[f'{i}_sd']:.4f}" for i in _INDICES)
