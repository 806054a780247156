"""Supervisors on disk: what was learned beside a frozen CLIP, which is named and not copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from clippan_cli.errors import ModelError, UsageError
from clippan_cli.modelstore.records import ClipRecord, SupervisorRecord, TrainingRecord
from clippan_cli.modelstore.store import Store, digest, pack
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.supervisor import Supervisor

STORE = Store("supervisor", SupervisorRecord)
WEIGHTS, RECORD = STORE.weights, STORE.record


def save_supervisor(
    folder: Path,
    made: Supervisor,
    training: TrainingRecord | None = None,
    held_out: Mapping[str, float] | None = None,
) -> SupervisorRecord:
    """Write a supervisor's folder. CLIP itself is not copied, only named, with its SHA-256.

    Args:
        folder: The folder to write; its name is the supervisor's id.
        made: The supervisor.
        training: How the supervisor came about; None where there is nothing to say.
        held_out: The scores on tiles kept aside, by name.

    Raises:
        OutputError: The folder cannot be written.
    """
    weights = pack(made.state_dict())
    record = SupervisorRecord(
        id=folder.resolve().name,
        bands=made.bands,
        wavelengths=tuple(wavelength or 0.0 for wavelength in made.wavelengths),
        ms_input=made.projector.kind,
        weights=sum(weight.numel() for weight in made.parameters()),
        sha256=digest(weights),
        clip=_name(made.encoder),
        prompts=made.prompts,
        training=training or TrainingRecord(),
        held_out=dict(held_out or {}),
    )
    STORE.write(folder, weights, record)
    return read_record(folder)


def read_record(folder: Path) -> SupervisorRecord:
    """Read a supervisor's record.

    Raises:
        UsageError: The folder holds no supervisor.
        ModelError: The record cannot be read.
    """
    if not (folder / RECORD).is_file():
        raise UsageError(f"no supervisor in {folder}: it has no {RECORD}", "clippan adapt makes one")
    return STORE.read(folder)


def load_supervisor(
    folder: Path, *, clip_weights: str | None = None, download: bool = False, encoder: Encoder | None = None
) -> Supervisor:
    """Return a supervisor, frozen, on the CPU.

    Args:
        folder: The folder where the supervisor lies.
        clip_weights: The tag or file of CLIP's weights; None for what the record names.
        download: Whether the weights of a tag may be fetched.
        encoder: CLIP, if it is at hand.

    Raises:
        UsageError: The folder holds no supervisor.
        ModelError: The supervisor is damaged, or CLIP is another one.
    """
    record = read_record(folder)
    clip, own = record.clip, STORE.load(folder, record)
    try:
        encoder = encoder or Encoder(
            clip.name,
            clip_weights or clip.weights,
            download=download,
            config=json.loads(clip.config) if clip.config else None,
            precision=clip.precision,
        )
        if encoder.sha256 != clip.sha256:
            raise ModelError(
                f"the supervisor {folder} was adapted to another CLIP: sha256 {clip.sha256[:12]}…, "
                f"not {encoder.sha256[:12]}…",
                f"`clip_weights` must name the weights of {clip.name} that it was adapted to",
            )
        # The weights alone do not tell: as a file and as a tag the same ones may be taken for others.
        encoder.mean.copy_(torch.tensor(clip.mean).view(1, 3, 1, 1))
        encoder.deviation.copy_(torch.tensor(clip.deviation).view(1, 3, 1, 1))
        projector = Projector(record.ms_input, own["projector.matrix"], own["projector.offset"])
        wavelengths = [wavelength or None for wavelength in record.wavelengths]
        made = Supervisor(encoder, projector, record.prompts, wavelengths)
        made.load_state_dict(own)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the supervisor {folder} cannot be used: {error}", "copy its folder again") from error
    return made.eval().requires_grad_(requires_grad=False)


def _name(encoder: Encoder) -> ClipRecord:
    """Name CLIP, so that the same one is found again."""
    return ClipRecord(
        name=encoder.name,
        weights=encoder.weights,
        precision=encoder.precision,
        sha256=encoder.sha256,
        mean=tuple(encoder.mean.flatten().tolist()),
        deviation=tuple(encoder.deviation.flatten().tolist()),
        config="" if encoder.config is None else json.dumps(encoder.config),
    )
