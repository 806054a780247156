"""Models on disk: a folder with the weights, what they are weights of, and a card for people."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clippan_cli.errors import ClippanError, ModelError, OutputError, UsageError
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import NETWORKS, all_settings, network

WEIGHTS, RECORD, CARD = "model.safetensors", "model.toml", "CARD.md"

_INSIDE, _BESIDE = Path(__file__).parents[1] / "models", Path(__file__).parents[2] / "models"


@dataclass(frozen=True)
class Model:
    """A trained network, not loaded yet.

    Args:
        id: Its name.
        folder: Where it lies.
        network: Name of the architecture.
        settings: What the architecture was made with.
        bands: MS bands it serves; None for any number.
        ratios: Smallest and largest ratio it was made for.
        sha256: Of the weights.
        document: Everything that its record says.
    """

    id: str
    folder: Path
    network: str
    settings: dict[str, Any]
    bands: int | None
    ratios: tuple[float, float]
    sha256: str
    document: dict[str, Any]

    def check_fit(self, bands: int, ratio: float) -> None:
        """Refuse a scene that the model was not made for.

        Raises:
            ModelError: Number of bands or ratio do not fit.
        """
        if self.bands is not None and self.bands != bands:
            raise ModelError(
                f"model {self.id} is for {self.bands} bands, MS has {bands}",
                "choose bands with --bidx, another --model, or --method",
            )
        low, high = self.ratios
        if not low - 0.1 <= ratio <= high + 0.1:
            raise ModelError(
                f"model {self.id} is for ratios of {low:g} to {high:g}, this scene has {ratio:.3g}",
                "choose another --model, or --method",
            )

    def verify(self) -> None:
        """Compare the weights with their SHA-256.

        Raises:
            ModelError: They are not what the record says.
        """
        path = self.folder / WEIGHTS
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}", "copy the model's folder again") from error
        if found != self.sha256:
            raise ModelError(
                f"{path} is not what {RECORD} describes: sha256 {found[:12]}…, stated {self.sha256[:12]}…",
                "the file is damaged or was changed; copy the model's folder again",
            )

    def load(self) -> Network:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises:
            ModelError: The weights are damaged, or of another architecture.
        """
        self.verify()
        try:
            made = network(self.network, self.bands or 1, **self.settings)
            made.load_state_dict(load_file(self.folder / WEIGHTS))
        except (ClippanError, RuntimeError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"the weights of model {self.id} do not fit {self.network} {self.settings}: "
                f"{str(error).splitlines()[0]}",
                f"{RECORD} and {WEIGHTS} do not belong together; copy the model's folder again",
            ) from error
        return made.eval()


def shipped() -> list[Model]:
    """The models that come with the package."""
    home = _INSIDE if _INSIDE.is_dir() else _BESIDE
    return [read_model(path.parent) for path in sorted(home.glob(f"*/{RECORD}"))]


def find_model(name: str) -> Model:
    """A shipped model by its id, or any by its folder.

    Raises:
        UsageError: There is none.
        ModelError: Its record cannot be used.
    """
    known = {model.id: model for model in shipped()}
    if name in known and (Path(name) / RECORD).is_file() and Path(name).resolve() != known[name].folder.resolve():
        raise UsageError(
            f"{name!r} is a model that ships, and a folder here", f"write ./{name} for the folder, or rename it"
        )
    if name in known:
        return known[name]
    if (Path(name) / RECORD).is_file():
        return read_model(Path(name))
    raise UsageError(
        f"no method or model {name!r}, nor a folder of that name with a {RECORD}",
        "models: " + (", ".join(known) or "none") + "; methods: see clippan sharpen --help",
    )


def read_model(folder: Path) -> Model:
    """Read a model's record.

    Raises:
        ModelError: It cannot be read, lacks something, or names an unknown architecture.
    """
    path = folder / RECORD
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        low, high = document["ratios"]
        model = Model(
            str(document["id"]),
            folder,
            str(document["network"]),
            dict(document["settings"]),
            int(document["bands"]) or None,
            (float(low), float(high)),
            str(document["sha256"]),
            document,
        )
    except (OSError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"cannot use {path}: {what}", "copy the model's folder again") from error
    if model.network not in NETWORKS:
        raise ModelError(
            f"model {model.id} is of an unknown architecture, {model.network!r}", "known: " + ", ".join(NETWORKS)
        )
    return model


def save_model(
    folder: Path,
    made: Network,
    *,
    name: str,
    settings: Mapping[str, Any],
    ratios: tuple[float, float],
    record: Mapping[str, Any],
    card: str,
) -> Model:
    """Write a model's folder; its record comes last, so that half a model is none.

    Args:
        folder: Where; its name is the model's id.
        made: The network.
        name: Of its architecture.
        settings: What it was made with.
        ratios: Smallest and largest ratio it is for.
        record: Further tables of the record.
        card: The text of the card.

    Raises:
        OutputError: It cannot be written.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in made.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        save_file(weights, folder / WEIGHTS)
        document = {
            "id": folder.resolve().name,
            "network": name,
            "settings": all_settings(name, settings),
            "bands": 0 if made.any_bands else made.bands,
            "ratios": list(ratios),
            "weights": sum(value.numel() for value in weights.values()),
            "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
            **record,
        }
        (folder / CARD).write_text(card, "utf-8")
        (folder / RECORD).write_text(tomli_w.dumps(_plain(document)), "utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"cannot write the model {folder}: {error}", "free some space, or choose another -o"
        ) from error
    return read_model(folder)


def _plain(value: Any) -> Any:
    """What TOML can hold: no None, no tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
