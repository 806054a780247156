"""The supervisor: an adapted CLIP that says which way a fusion should go; and how it lies on disk."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clippan_cli.errors import ModelError, OutputError, UsageError
from clippan_cli.supervision.adapters import Adapters
from clippan_cli.supervision.encoder import Encoder, digest
from clippan_cli.supervision.losses import directional_loss
from clippan_cli.supervision.projector import Projector
from clippan_cli.supervision.prompts import Prompts

WEIGHTS, RECORD = "supervisor.safetensors", "supervisor.toml"

_SAME_BAND = 60.0  # nm
_ADAPT_ONE = "adapt one to scenes of this sensor, and train on these alone"

MS, PAN, HRMS, DISTORTED = range(4)
"""Order of the texts."""


class Supervisor(nn.Module):
    """CLIP, projector and adapters. Its state is that of the latter two; CLIP moves between devices by itself.

    Args:
        encoder: The frozen CLIP.
        projector: From bands to three channels.
        prompts: What the types are called.
        wavelengths: Of the MS bands, in nanometres; None where unknown.
    """

    plain_texts: Tensor
    encoder: Encoder

    def __init__(
        self, encoder: Encoder, projector: Projector, prompts: Prompts, wavelengths: Sequence[float | None]
    ) -> None:
        super().__init__()
        self.wavelengths = tuple(wavelengths)
        # No part of the module: it is frozen, and 150 million weights do not belong into checkpoints.
        object.__setattr__(self, "encoder", encoder)
        self.projector, self.prompts = projector, prompts
        self.adapters = Adapters(encoder.width)
        self.register_buffer("plain_texts", encoder.texts(prompts.texts))

    @property
    def bands(self) -> int:
        """MS bands it looks at."""
        return int(self.projector.matrix.shape[1])

    def check_fit(self, scene: str, wavelengths: Sequence[float | None]) -> None:
        """Refuse a scene of other bands than it knows.

        Args:
            scene: Its name.
            wavelengths: Of its bands, in nanometres; None where unknown.

        Raises:
            UsageError: Their number differs, or what is known of them.
        """
        if len(wavelengths) != self.bands:
            raise UsageError(f"the supervisor looks at {self.bands} bands, {scene} has {len(wavelengths)}", _ADAPT_ONE)
        for number, (own, other) in enumerate(zip(self.wavelengths, wavelengths, strict=True), 1):
            if own and other and abs(own - other) > _SAME_BAND:
                raise UsageError(
                    f"band {number} of {scene} lies at {other:g} nm, the supervisor's at {own:g} nm", _ADAPT_ONE
                )

    def texts(self) -> Tensor:
        """Adapted vectors ``(4, D)`` of MS, PAN, HRMS and of what is distorted."""
        kinds = ("ms", "pan", "hrms", "hrms")
        return torch.cat([self.adapters.text[kind](self.plain_texts[i : i + 1]) for i, kind in enumerate(kinds)])

    def see_bands(self, bands: Tensor, kind: str) -> Tensor:
        """Adapted vectors of MS (``"ms"``) or of fused images (``"hrms"``).

        Args:
            bands: ``(B, C, H, W)`` on PAN's grid, of which 0 and 1 are the scene's dark and bright end.
            kind: Which adapter.
        """
        return self._see(self.projector(self._window(bands)), kind)

    def see_pan(self, pan: Tensor) -> Tensor:
        """Adapted vectors of PAN ``(B, 1, H, W)``, stretched likewise."""
        return self._see(self._window(pan).clamp(0, 1).expand(-1, 3, -1, -1), "pan")

    def digest(self) -> str:
        """SHA-256 of all that it has learned."""
        return digest(self)

    def on(self, device: torch.device) -> Supervisor:
        """Move it, and CLIP with it."""
        self.encoder.to(device)
        return self.to(device)

    def directional(self, fused: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        """L_d of fused images ``(B, C, H, W)`` beside interpolated MS and PAN: ``(B,)``."""
        with torch.no_grad():
            texts = self.texts()
            sources = torch.stack([self.see_bands(ms, "ms"), self.see_pan(pan)])
            directions = torch.stack([texts[HRMS] - texts[MS], texts[HRMS] - texts[PAN]])
        return directional_loss(self.see_bands(fused, "hrms"), sources, directions)

    def _see(self, channels: Tensor, kind: str) -> Tensor:
        seen: Tensor = self.adapters.image[kind](self.encoder.images(channels))
        return seen

    def _window(self, x: Tensor) -> Tensor:
        """The middle, as large as CLIP looks at: scaled down, HRMS could not be told from MS."""
        side = self.encoder.side
        height, width = x.shape[-2:]
        if min(height, width) < side:
            return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        top, left = (height - side) // 2, (width - side) // 2
        return x[..., top : top + side, left : left + side]


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
