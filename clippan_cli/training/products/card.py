"""The card of a model: what it is, for people."""

from __future__ import annotations

from clippan_cli.modelstore.records import TrainingRecord
from clippan_cli.networks.network import Network

_CARD = """# {id}

{title}; {weights:,} weights, {bands}.

## How it was trained

    {it.command}

{it.minutes} minutes on {it.device}, torch {it.torch}{steps}. Sources: {sources}.
{lessons}

`training.csv` is the log.
"""

_STEPS = ", seed {it[seed]}: {it[iterations]:,} steps of {it[batch]} pairs"


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
        sources=", ".join(f"{count} {kind}" for kind, count in training.sources.items()),
    )
