"""Models on disk: a folder with the weights, what they are weights of, and a card for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clippan_cli.base.documents import Plain, as_plain
from clippan_cli.base.values import Setting
from clippan_cli.errors import ClippanError, ModelError, UsageError
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord, as_table
from clippan_cli.modelstore.store import Store, digest, pack
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import NETWORKS, all_settings, network

STORE = Store("model", ModelRecord)
WEIGHTS, RECORD = STORE.weights, STORE.record


@dataclass(frozen=True)
class Model:
    """A trained network, not loaded yet.

    Args:
        folder: The folder where it lies.
        record: Everything that is said of the network there.
    """

    folder: Path
    record: ModelRecord

    @property
    def id(self) -> str:
        """The name of the model."""
        return self.record.id

    @property
    def network(self) -> str:
        """The name of the architecture."""
        return self.record.network

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that the architecture was made with."""
        return self.record.settings

    @property
    def bands(self) -> int | None:
        """The number of MS bands that the model serves; None for any number."""
        return self.record.bands or None

    @property
    def ratios(self) -> tuple[float, float]:
        """The smallest and the largest ratio that the model was made for."""
        return self.record.ratios

    @property
    def sha256(self) -> str:
        """The SHA-256 of the weights."""
        return self.record.sha256

    def plain(self) -> dict[str, Plain]:
        """Turn it into what JSON can hold: the record, and the folder beside it."""
        return {**as_plain(as_table(self.record)), "folder": str(self.folder)}

    def check_fit(self, bands: int, ratio: float) -> None:
        """Refuse a scene that the model was not made for.

        Raises:
            ModelError: Number of bands or ratio do not fit.
        """
        if self.bands is not None and self.bands != bands:
            raise ModelError(
                f"model {self.id} is for {self.bands} bands, MS has {bands}",
                "choose bands with `bands`, another `model`, or `method`",
            )
        low, high = self.ratios
        if not low - 0.1 <= ratio <= high + 0.1:
            raise ModelError(
                f"model {self.id} is for ratios of {low:g} to {high:g}, this scene has {ratio:.3g}",
                "choose another `model`, or `method`",
            )

    def verify(self) -> None:
        """Compare the weights with their SHA-256.

        Raises:
            ModelError: They are not what the record says.
        """
        STORE.verify(self.folder, self.record)

    def load(self) -> Network:
        """Return the network with its weights, in evaluation mode, on the CPU.

        Raises:
            ModelError: The weights are damaged, or of another architecture.
        """
        weights = STORE.load(self.folder, self.record)
        try:
            made = network(self.network, self.bands or 1, **self.settings)
            made.load_state_dict(weights)
        except (ClippanError, RuntimeError, TypeError) as error:
            raise ModelError(
                f"the weights of model {self.id} do not fit {self.network} {self.settings}: "
                f"{str(error).splitlines()[0]}",
                f"{RECORD} and {WEIGHTS} do not belong together; copy the model's folder again",
            ) from error
        return made.eval()


def shipped() -> list[Model]:
    """List the models that come with the package."""
    return [read_model(folder) for folder in STORE.shipped()]


def find_model(name: str) -> Model:
    """Find a shipped model by its id, or any by its folder.

    Raises:
        UsageError: There is none.
        ModelError: Its record cannot be used.
    """
    folder = STORE.find(name)
    if folder is not None:
        return read_model(folder)
    known = ", ".join(each.name for each in STORE.shipped()) or "none"
    raise UsageError(
        f"no method or model {name!r}, nor a folder of that name with a {RECORD}",
        f"models: {known}; methods: see clippan sharpen --help",
    )


def read_model(folder: Path) -> Model:
    """Read a model's record.

    Raises:
        ModelError: The record cannot be read, lacks something, or names an unknown architecture.
    """
    model = Model(folder, STORE.read(folder))
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
    settings: Mapping[str, Setting],
    ratios: tuple[float, float],
    training: TrainingRecord | None = None,
    card: str,
) -> Model:
    """Write a model's folder.

    Args:
        folder: The folder to write; its name is the model's id.
        made: The network.
        name: The name of its architecture.
        settings: The settings that the network was made with.
        ratios: The smallest and the largest ratio that the model is for.
        training: How the model came about; None where there is nothing to say.
        card: The text of the card.

    Raises:
        OutputError: The folder cannot be written.
    """
    state = made.state_dict()
    weights = pack(state)
    record = ModelRecord(
        id=folder.resolve().name,
        network=name,
        settings=as_plain(all_settings(name, settings)),
        bands=0 if made.any_bands else made.bands,
        ratios=ratios,
        weights=sum(value.numel() for value in state.values()),
        sha256=digest(weights),
        training=training or TrainingRecord(),
    )
    STORE.write(folder, weights, record, card)
    return read_model(folder)
