"""The card of a model: what it is, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clippan_cli.networks.network import Network

_CARD = """# {id}

{title}; {weights:,} weights, {bands}.

## How it was trained

    {command}

{minutes} minutes on {device}, torch {torch}, seed {seed}: {iterations:,} steps of {batch} pairs. Sources: {sources}.
{lessons}

`training.csv` is the log.
"""


def training_card(name: str, made: Network, recipe: Mapping[str, Any], lessons: str) -> str:
    """Of a model that has just been trained.

    Args:
        name: Its id.
        made: The network.
        recipe: How it was trained.
        lessons: What it was trained on, in words.
    """
    return _CARD.format(
        id=name,
        **{
            **recipe,
            "title": made.title,
            "lessons": lessons,
            "weights": sum(weight.numel() for weight in made.parameters()),
            "bands": "any number of bands" if made.any_bands else f"{made.bands} bands",
            "sources": ", ".join(f"{count} {kind}" for kind, count in recipe["sources"].items()),
        },
    )
