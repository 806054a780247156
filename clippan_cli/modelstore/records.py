"""Records: what a sealed folder says of itself, as frozen dataclasses inside and TOML at the edge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any

from clippan_cli.base.documents import Number, Plain, from_plain
from clippan_cli.base.identity import Key
from clippan_cli.supervision.forms import SIX
from clippan_cli.supervision.prompts import Prompts

_NAMED = {str(value): value for value in (math.nan, math.inf, -math.inf)}


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a folder came about; older folders lack some of it.

    Args:
        command: The words that train it again.
        version: The version of this program.
        torch: The version of torch.
        device: The device that computed it.
        minutes: The number of minutes that the training took.
        sources: The numbers of what was learned from, by kind.
        init: The id of the model that the training began from; None where it began anew.
        init_sha256: The SHA-256 of the weights that the training began from.
        best_iteration: The iteration whose weights were kept; None for the last one.
        skipped: The number of tiles that were passed over.
        held_out: The indices on tiles kept aside, by what made the image and by name.
        options: The training's own options, by their keys.
        learned_from: A digest of the names of what was learned from.
        algorithm: The key of the algorithms that computed it.
    """

    command: str | None = None
    version: str | None = None
    torch: str | None = None
    device: str | None = None
    minutes: float | None = None
    sources: dict[str, int] = field(default_factory=dict)
    init: str | None = None
    init_sha256: str | None = None
    best_iteration: int | None = None
    skipped: int | None = None
    held_out: dict[str, dict[str, Number]] = field(default_factory=dict)
    options: dict[str, Plain] = field(default_factory=dict)
    learned_from: str | None = None
    algorithm: str | None = None

    @classmethod
    def of(cls, said: Key) -> TrainingRecord:
        """Make a record of all that is said of a training: what is no field of its own is an option.

        Raises:
            ValueError: A field is of another type.
        """
        return from_plain(cls, sort_training(said))

    @property
    def key(self) -> Key:
        """What identifies the training: its options, where it began, what it learned from, and the algorithms."""
        own = ("init", "init_sha256", "sources", "learned_from", "algorithm")
        return {**self.options, **{name: getattr(self, name) for name in own}}


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The record of a model.

    Args:
        id: The model's name, that of its folder.
        network: The name of the architecture.
        settings: The settings that the architecture was made with.
        bands: The number of MS bands that the model serves; 0 for any number.
        ratios: The smallest and the largest ratio that the model was made for.
        weights: The number of its weights.
        sha256: The SHA-256 of the file of weights.
        training: How the model came about.
    """

    id: str
    network: str
    settings: dict[str, Plain]
    bands: int
    ratios: tuple[float, float]
    weights: int = 0
    sha256: str
    training: TrainingRecord = field(default_factory=TrainingRecord)


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """The CLIP that a supervisor was adapted to, named and not copied.

    Args:
        name: The architecture of open_clip.
        weights: The tag or the file of its weights.
        precision: The precision that it computes in, ``"fp32"`` or ``"bf16"``.
        sha256: The SHA-256 of its weights.
        mean: The mean that it expects of each channel.
        deviation: The standard deviation that it expects of each channel.
        config: The configuration in JSON where open_clip does not know the architecture; else empty.
    """

    name: str
    weights: str
    precision: str
    sha256: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    config: str


@dataclass(frozen=True, kw_only=True)
class SupervisorRecord:
    """The record of a supervisor.

    Args:
        id: The supervisor's name, that of its folder.
        bands: The number of MS bands that the supervisor looks at; 0 for any number.
        wavelengths: The centres of the MS bands, in nanometres; 0 where unknown.
        ms_input: How bands become three channels.
        adapters: The form of the adapters; older folders have six.
        weights: The number of weights that were learned.
        sha256: The SHA-256 of the file of weights.
        clip: The CLIP that the supervisor was adapted to.
        prompts: The texts for the types of images.
        training: How the supervisor came about.
        held_out: The scores on tiles kept aside, by name.
    """

    id: str = ""
    bands: int
    wavelengths: tuple[float, ...]
    ms_input: str
    adapters: str = SIX
    weights: int = 0
    sha256: str
    clip: ClipRecord
    prompts: Prompts
    training: TrainingRecord = field(default_factory=TrainingRecord)
    held_out: dict[str, float] = field(default_factory=dict)


def as_table(record: Any) -> dict[str, Plain]:
    """Turn a record into what TOML can hold; what is not known is left out."""
    stated = {each.name: (getattr(record, each.name), _default(each)) for each in fields(record)}
    return {name: _plain(value) for name, (value, default) in stated.items() if value != default}


def sort_training(said: Key) -> dict[str, Plain]:
    """Sort what is said of a training, flat as older folders have it, into fields and options.

    Numbers that older folders call by their name, as ``"nan"``, become numbers.
    """
    own = {each.name for each in fields(TrainingRecord)}
    known = {name: value for name, value in said.items() if name in own}
    options = {name: value for name, value in said.items() if name not in own}
    return {**known, "held_out": _numbers(said.get("held_out", {})), "options": {**options, **said.get("options", {})}}


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def _plain(value: Any) -> Any:
    """Leave out every None: TOML has none."""
    if is_dataclass(value):
        return as_table(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    return _NAMED.get(value, value) if isinstance(value, str) else value
