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
Pairs were simulated from images (random mixtures as bands, a random PAN response, MTF gains, phases, ratios of 2 to 6,
noise) and taken from real scenes one scale down (Wald). Loss: logarithm of the error, plus {angle:g} times that of the
spectral angle, after {consistency} back-projections.

`training.csv` is the log.
"""


def training_card(name: str, made: Network, recipe: Mapping[str, Any]) -> str:
    """Of a model that has just been trained.

    Args:
        name: Its id.
        made: The network.
        recipe: How it was trained.
    """
    return _CARD.format(
        id=name,
        **{
            **recipe,
            "title": made.title,
            "weights": sum(weight.numel() for weight in made.parameters()),
            "bands": "any number of bands" if made.any_bands else f"{made.bands} bands",
            "sources": ", ".join(f"{count} {kind}" for kind, count in recipe["sources"].items()),
        },
    )
