"""Supervisors on disk: what was learned beside a frozen CLIP, which is named and not copied."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clippan_cli.errors import ModelError, OutputError, UsageError
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import Prompts
from clippan_cli.supervision.supervisor import Supervisor

WEIGHTS, RECORD = "supervisor.safetensors", "supervisor.toml"


def save_supervisor(folder: Path, made: Supervisor, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write the folder; its record comes last. CLIP itself is not copied, only named, with its SHA-256.

    Args:
        folder: Where.
        made: What.
        record: Further tables of the record.

    Raises:
        OutputError: It cannot be written.
    """
    own = {key: value.cpu().contiguous() for key, value in made.state_dict().items()}
    encoder, prompts = made.encoder, made.prompts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        save_file(own, folder / WEIGHTS)
        document = {
            "id": folder.resolve().name,
            "bands": made.bands,
            "wavelengths": [wavelength or 0.0 for wavelength in made.wavelengths],
            "ms_input": made.projector.kind,
            "weights": sum(weight.numel() for weight in made.parameters()),
            "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
            "clip": {
                "name": encoder.name,
                "weights": encoder.weights,
                "precision": encoder.precision,
                "sha256": encoder.sha256,
                "mean": encoder.mean.flatten().tolist(),
                "deviation": encoder.deviation.flatten().tolist(),
                "config": "" if encoder.config is None else json.dumps(encoder.config),
            },
            "prompts": {
                "name": prompts.name,
                **dict(zip(("ms", "pan", "hrms", "distorted"), prompts.texts, strict=True)),
            },
            **record,
        }
        (folder / RECORD).write_text(tomli_w.dumps(document), "utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"cannot write the supervisor {folder}: {error}", "free some space, or choose another -o"
        ) from error
    return document


def read_record(folder: Path) -> dict[str, Any]:
    """What a supervisor's record says.

    Raises:
        UsageError: There is none.
        ModelError: It cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UsageError(f"no supervisor in {folder}: it has no {RECORD}", "clippan adapt makes one")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        if not {"bands", "wavelengths", "ms_input", "sha256", "clip", "prompts"} <= set(document):
            raise ValueError("it is not complete")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot use {path}: {error}", "copy the supervisor's folder again") from error
    return document


def load_supervisor(
    folder: Path, *, clip_weights: str | None = None, download: bool = False, encoder: Encoder | None = None
) -> Supervisor:
    """A supervisor, frozen, on the CPU.

    Args:
        folder: Where it lies.
        clip_weights: Where CLIP's weights lie now; None for where they were.
        download: Whether the weights of a tag may be fetched.
        encoder: CLIP, if it is at hand.

    Raises:
        UsageError: There is none.
        ModelError: It is damaged, or CLIP is another one.
    """
    document = read_record(folder)
    try:
        if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != document["sha256"]:
            raise ModelError(f"{folder / WEIGHTS} is not what {RECORD} describes", "copy the supervisor's folder again")
        own = load_file(folder / WEIGHTS)
        clip, texts = document["clip"], document["prompts"]
        encoder = encoder or Encoder(
            clip["name"],
            clip_weights or clip["weights"],
            download=download,
            config=json.loads(clip["config"]) if clip["config"] else None,
            precision=clip["precision"],
        )
        if encoder.sha256 != clip["sha256"]:
            raise ModelError(
                f"the supervisor {folder} was adapted to another CLIP: sha256 {clip['sha256'][:12]}…, "
                f"not {encoder.sha256[:12]}…",
                f"--clip-weights must name the weights of {clip['name']} that it was adapted to",
            )
        # The weights alone do not tell: as a file and as a tag the same ones may be taken for others.
        for name in ("mean", "deviation"):
            getattr(encoder, name).copy_(torch.tensor(clip[name]).view(1, 3, 1, 1))
        projector = Projector(document["ms_input"], own["projector.matrix"], own["projector.offset"])
        made = Supervisor(
            encoder, projector, Prompts(**texts), [wavelength or None for wavelength in document["wavelengths"]]
        )
        made.load_state_dict(own)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the supervisor {folder} cannot be used: {error}", "copy its folder again") from error
    return made.eval().requires_grad_(requires_grad=False)
