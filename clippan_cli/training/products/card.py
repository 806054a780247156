"""The card of a model: what it is, for people."""

from __future__ import annotations

from clippan_cli.modelstore.records import SupervisorRecord, TrainingRecord
from clippan_cli.networks.network import Network
from clippan_cli.supervision.prompts import KINDS

_CARD = """# {id}

{title}; {weights:,} weights, {bands}.

## How it was trained

    {it.command}

{it.minutes} minutes on {it.device}, torch {it.torch}{steps}. Sources: {sources}.
{lessons}

`training.csv` is the log.
"""

_STEPS = ", seed {it[seed]}: {it[iterations]:,} steps of {it[batch]} pairs"


_SUPERVISOR = """# {record.id}

Supervisor of clippan: what was learned beside CLIP {record.clip.name}; {bands}.

## How it was adapted

    {it.command}

{it.minutes} minutes on {it.device}, torch {it.torch}, seed {said[seed]}:
{said[iterations]:,} steps of {said[batch]} tiles.
Adapters: {record.adapters}. MS as CLIP sees it: {record.ms_input}.

## What it recognises

On tiles kept aside, the share of each class that is recognised by its text:

| MS | PAN | HRMS | distorted | through the adapter of another type | noise taken for the type of its adapter |
|---|---|---|---|---|---|
| {held[accuracy_ms]:.2f} | {held[accuracy_pan]:.2f} | {held[accuracy_hrms]:.2f} | {held[accuracy_distorted]:.2f} \
| {held[swapped]:.2f} | {held[noise]:.2f} |

{reading}

`training.csv` is the log.
"""

_TAUGHT = """# {record.id}

A small CLIP of clippan's own, and the supervisor that looks through it; any number of bands.

## How it was taught

    {it.command}

{it.minutes} minutes on {it.device}, torch {it.torch}, seed {said[seed]}:
{said[iterations]:,} steps of {said[batch]} places. Sources: {sources}.
Each place is seen as MS, as PAN, as the truth, as a network and as a formula fuse it, and spoilt in twelve ways by
known amounts. The texts say so in varied English. CLIP learns which text belongs to which image, which of four kinds an
image is, and to order images by how far they are from the truth; small changes that please it are shown to it with what
they are worth. It sees each band by itself: the band, what it has beyond MS, and what it has beyond PAN.

## What it recognises

On places kept aside: rank correlation of its score with the error, within a place: {held[spearman]:.2f}; kinds (MS,
PAN, HRMS, distorted): {held[kinds_recognised]:.2f}; the right one among some 48 captions: {held[captions_found]:.2f}.

`training.csv` is the log.
"""

_READ = "What it recognises is read from the image: an adapter of another type changes nothing."
_LEAKS = "**The adapter gives it away**: through the adapter of another type an image is taken for that type."
_LEAK = 0.1


def supervisor_card(record: SupervisorRecord) -> str:
    """Write the card of a supervisor that has just been adapted."""
    held = record.held_out
    plain = sum(held[f"accuracy_{name}"] for name in KINDS) / len(KINDS)
    return _SUPERVISOR.format(
        record=record,
        it=record.training,
        said=record.training.options,
        held=held,
        bands=f"{record.bands} bands" if record.bands else "any number of bands",
        reading=_LEAKS if plain - held["swapped"] > _LEAK else _READ,
    )


def taught_card(record: SupervisorRecord) -> str:
    """Write the card of a CLIP that has just been taught."""
    return _TAUGHT.format(
        record=record,
        it=record.training,
        said=record.training.options,
        held=record.held_out,
        sources=_sources(record.training),
    )


def training_card(name: str, made: Network, training: TrainingRecord, lessons: str) -> str:
    """Write the card of a model that has just been trained.

    Args:
        name: The model's id.
        made: The network.
        training: How the network was trained.
        lessons: What the network was trained on, in words.
    """
    return _CARD.format(
        id=name,
        it=training,
        title=made.title,
        lessons=lessons,
        steps="" if training.options.get("weights") == "refine" else _STEPS.format(it=training.options),
        weights=sum(weight.numel() for weight in made.parameters()),
        bands="any number of bands" if made.any_bands else f"{made.bands} bands",
        sources=_sources(training),
    )


def _sources(training: TrainingRecord) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in training.sources.items())
