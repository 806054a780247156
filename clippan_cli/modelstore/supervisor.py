"""Supervisors on disk: what was learned beside a frozen CLIP, which is named and not copied.

One ships. Its CLIP is a small one of our own and lies beside it; other supervisors can be adapted to that CLIP too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from clippan_cli.base.documents import Plain, as_plain
from clippan_cli.errors import ModelError, UsageError
from clippan_cli.modelstore.records import ClipRecord, SupervisorRecord, TrainingRecord, as_table
from clippan_cli.modelstore.store import Store, digest, pack
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.forms import DIFFERENCES
from clippan_cli.supervision.projector import Differences, Projector, Shown
from clippan_cli.supervision.supervisor import Supervisor

STORE = Store("supervisor", SupervisorRecord)
WEIGHTS, RECORD = STORE.weights, STORE.record
_USUAL_WEIGHTS = "openai"

CLIP = "clip.safetensors"
"""The file with the weights of a shipped supervisor's CLIP."""


def save_supervisor(
    folder: Path,
    made: Supervisor,
    training: TrainingRecord | None = None,
    held_out: Mapping[str, float] | None = None,
    card: Callable[[SupervisorRecord], str] | None = None,
) -> SupervisorRecord:
    """Write a supervisor's folder. CLIP itself is not copied, only named, with its SHA-256.

    Args:
        folder: The folder to write; its name is the supervisor's id.
        made: The supervisor.
        training: How the supervisor came about; None where there is nothing to say.
        held_out: The scores on tiles kept aside, by name.
        card: Writes the card of the record; None for no card.

    Raises:
        OutputError: The folder cannot be written.
    """
    weights = pack(made.state_dict())
    record = SupervisorRecord(
        id=folder.resolve().name,
        bands=made.bands,
        wavelengths=tuple(wavelength or 0.0 for wavelength in made.wavelengths),
        ms_input=made.projector.kind,
        adapters=made.adapters.form,
        weights=sum(weight.numel() for weight in made.parameters()),
        sha256=digest(weights),
        clip=_name(made.encoder),
        prompts=made.prompts,
        training=training or TrainingRecord(),
        held_out=dict(held_out or {}),
    )
    STORE.write(folder, weights, record, card(record) if card else None)
    return read_record(folder)


def find_supervisor(name: str) -> Path:
    """Find a shipped supervisor by its id, or any by its folder.

    Raises:
        UsageError: There is none, or the name is both.
    """
    folder = STORE.find(name)
    if folder is None:
        known = ", ".join(each.name for each in STORE.shipped())
        raise UsageError(
            f"no supervisor in {name}: it has no {RECORD}", f"clippan adapt makes one; one that ships is {known}"
        )
    return folder


def plain_supervisor(folder: Path) -> dict[str, Plain]:
    """Turn a supervisor into what JSON can hold: its record, and the folder beside it."""
    return {**as_plain(as_table(read_record(folder))), "folder": str(folder)}


def verify_supervisor(folder: Path) -> SupervisorRecord:
    """Compare the weights of a supervisor, and of a CLIP beside it, with their SHA-256; return the record.

    Raises:
        UsageError: The folder holds no supervisor.
        ModelError: They are not what the record says.
    """
    record = read_record(folder)
    STORE.verify(folder, record)
    clip = folder / CLIP
    if clip.is_file() and digest(clip.read_bytes()) != record.clip.sha256:
        raise ModelError(f"{clip} is not what {RECORD} describes", "copy the supervisor's folder again")
    return record


def load_clip(name: str, weights: str | None, *, download: bool = False, precision: str = "fp32") -> Encoder:
    """Return a CLIP: that of a shipped supervisor, by the supervisor's id, or any of open_clip.

    Args:
        name: The id, the architecture's name in open_clip, or a JSON file with a configuration.
        weights: The tag or file of its weights; None for those that ship, or those of OpenAI.
        download: Whether the weights of a tag may be fetched.
        precision: The precision, ``"fp32"`` or ``"bf16"``.

    Raises:
        UsageError: There is no such architecture, tag or precision.
        ModelError: The weights are not at hand, or not of this architecture.
    """
    folder = _taught(name)
    if folder is None:
        return Encoder(name, weights or _USUAL_WEIGHTS, download=download, precision=precision)
    clip = read_record(folder).clip
    made = Encoder(name, weights or str(folder / CLIP), config=json.loads(clip.config), precision=precision)
    made.see_as(clip.mean, clip.deviation)
    return made


def looks_at_differences(name: str) -> bool:
    """Tell whether a CLIP is one of our own, of a shipped supervisor or of a folder that clippan teach made."""
    return _taught(name) is not None


def _taught(name: str) -> Path | None:
    """Return the folder of a CLIP of our own; None for any other."""
    folder = STORE.find(name)
    return folder if folder is not None and (folder / CLIP).is_file() else None


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
        encoder = encoder or _find_again(folder, clip, clip_weights, download=download)
        if encoder.sha256 != clip.sha256:
            raise ModelError(
                f"the supervisor {folder} was adapted to another CLIP: sha256 {clip.sha256[:12]}…, "
                f"not {encoder.sha256[:12]}…",
                f"`clip_weights` must name the weights of {clip.name} that it was adapted to",
            )
        # The weights alone do not tell: as a file and as a tag the same ones may be taken for others.
        encoder.see_as(clip.mean, clip.deviation)
        wavelengths = [wavelength or None for wavelength in record.wavelengths]
        made = Supervisor(encoder, _projector(record, own), record.prompts, wavelengths, adapters=record.adapters)
        made.load_state_dict(own)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the supervisor {folder} cannot be used: {error}", "copy its folder again") from error
    return made.eval().requires_grad_(requires_grad=False)


def _find_again(folder: Path, clip: ClipRecord, weights: str | None, *, download: bool) -> Encoder:
    """Return the CLIP that the record of a folder names; one that was taught lies beside the record."""
    if _taught(clip.name):
        return load_clip(clip.name, weights, precision=clip.precision)
    beside = folder / CLIP
    return Encoder(
        clip.name,
        weights or (str(beside) if beside.is_file() else clip.weights),
        download=download,
        config=json.loads(clip.config) if clip.config else None,
        precision=clip.precision,
    )


def _projector(record: SupervisorRecord, own: Mapping[str, Tensor]) -> Shown:
    """Return how the supervisor is shown images."""
    if record.ms_input == DIFFERENCES:
        return Differences()
    return Projector(record.ms_input, own["projector.matrix"], own["projector.offset"])


def _name(encoder: Encoder) -> ClipRecord:
    """Name CLIP, so that the same one is found again."""
    return ClipRecord(
        name=encoder.name,
        weights=CLIP if Path(encoder.weights).name == CLIP else encoder.weights,
        precision=encoder.precision,
        sha256=encoder.sha256,
        mean=tuple(encoder.mean.flatten().tolist()),
        deviation=tuple(encoder.deviation.flatten().tolist()),
        config="" if encoder.config is None else json.dumps(encoder.config),
    )
