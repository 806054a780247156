"""Where a training stands, on disk: weights, their running mean, the optimiser, and the iteration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from clippan_cli.base.files import replace_file
from clippan_cli.base.identity import Key, check_same
from clippan_cli.errors import ModelError, OutputError
from clippan_cli.modelstore.store import pack

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Best:
    """The best net so far.

    Args:
        score: How bad it is: the less the better.
        iteration: The iteration that made it.
        weights: Its weights, by their names.
    """

    score: float
    iteration: int
    weights: dict[str, Tensor]


class Learner(NamedTuple):
    """What every step of a training changes.

    Args:
        net: The net.
        mean: The net with the running mean of its weights.
        optimiser: The optimiser of the net's weights.
    """

    net: nn.Module
    mean: nn.Module
    optimiser: torch.optim.Optimizer


def save_state(path: Path, iteration: int, learner: Learner, key: Key, best: Best | None = None) -> None:
    """Write the checkpoint, whole or not at all.

    Args:
        path: The file to write.
        iteration: The number of iterations that are done.
        learner: The learner as it stands after them.
        key: What a resumed training must have in common with this one.
        best: The best net so far, if there is one.

    Raises:
        OutputError: It cannot be written.
    """
    net, mean, optimiser = learner
    tensors: dict[str, Tensor] = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"mean.{name}": value for name, value in mean.state_dict().items()}
    for name, weight in net.named_parameters():
        # A weight that no sample has needed yet has no state.
        tensors |= {f"{moment}.{name}": value for moment, value in optimiser.state[weight].items()}
    document = {"iteration": str(iteration), "key": json.dumps(dict(key), sort_keys=True)}
    if best is not None:
        tensors |= {f"best.{name}": value for name, value in best.weights.items()}
        document |= {"best": json.dumps([best.score, best.iteration])}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, pack(tensors, document))
    except OSError as error:
        raise OutputError(
            f"cannot write the checkpoint {path}: {error}", "free some space; `resume` continues from the last one"
        ) from error


def load_state(path: Path, learner: Learner, key: Key) -> tuple[int, Best | None]:
    """Bring a learner to where :func:`save_state` left one; return the iteration, and the best net so far.

    Raises:
        ModelError: The checkpoint is damaged, or of a training with other settings.
    """
    net, mean, optimiser = learner
    try:
        with safe_open(path, "pt") as file:
            document = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_same(json.loads(document["key"]), key, str(path), ModelError)
        for prefix, module in (("net.", net), ("mean.", mean)):
            module.load_state_dict(_part(tensors, prefix))
        iteration = int(document["iteration"])
        score, when = json.loads(document.get("best", "[0, 0]"))
        best = Best(score, when, _part(tensors, "best.")) if "best" in document else None
        for name, weight in net.named_parameters():
            known = {moment: f"{moment}.{name}" for moment in _MOMENTS if f"{moment}.{name}" in tensors}
            optimiser.state[weight] = {
                moment: tensors[at] if moment == "step" else tensors[at].to(weight) for moment, at in known.items()
            }
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the checkpoint {path} cannot be used: {error}", "start again with `overwrite`") from error
    return iteration, best


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
