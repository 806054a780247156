"""How much each loss counts."""

from __future__ import annotations

from collections.abc import Mapping

from clippan_cli.errors import UsageError


def choose_weights(said: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of all losses: those that are known, but for what is said.

    Raises:
        UsageError: There is no such loss, or none is left.
    """
    unknown = set(said) - set(known)
    if unknown:
        raise UsageError(f"unknown loss {sorted(unknown)[0]!r}", "known: " + ", ".join(known))
    weights = {**known, **said}
    if not any(weights.values()):
        raise UsageError("all losses are switched off", "give one of them a weight")
    return weights
