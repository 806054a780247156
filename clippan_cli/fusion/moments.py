"""First and second moments of a scene, gathered in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clippan_cli.base.geometry import Box
from clippan_cli.physics.operators import Operators, blur, octaves
from clippan_cli.physics.pixels import Pixels, Validity


@dataclass(frozen=True, kw_only=True)
class MomentsRecord:
    """Moments as a document.

    Args:
        names: The features, without the leading constant 1.
        sums: Sums of products of ``(1, features)``.
    """

    names: list[str]
    sums: list[list[float]]


@dataclass(frozen=True)
class Moments:
    """Sums of products of features over the valid MS pixels of a scene.

    Args:
        names: The feature of each component, without the leading constant 1.
        sums: ``(1 + F, 1 + F)``, the sums of products of ``(1, components)``.
    """

    names: tuple[str, ...]
    sums: NDArray[np.float64]

    @property
    def count(self) -> int:
        """The number of pixels."""
        return int(self.sums[0, 0])

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of pixels together."""
        return Moments(self.names, self.sums + other.sums)

    def mean(self, feature: str) -> NDArray[np.float64]:
        """Return the mean of each component of a feature."""
        return self.sums[0, self._at(feature)] / self.count

    def product(self, first: str, second: str) -> NDArray[np.float64]:
        """Return mean products: ``(components of first, components of second)``."""
        return self.sums[np.ix_(self._at(first), self._at(second))] / self.count

    def covariance(self, first: str, second: str) -> NDArray[np.float64]:
        """Return covariances: ``(components of first, components of second)``."""
        return self.product(first, second) - np.outer(self.mean(first), self.mean(second))

    def _at(self, feature: str) -> list[int]:
        return [i for i, name in enumerate(self.names, 1) if name == feature]

    def only(self, features: Sequence[str]) -> Moments:
        """Return the moments of some features alone, in the order given."""
        at = [0] + [i for feature in features for i in self._at(feature)]
        return Moments(tuple(self.names[i - 1] for i in at[1:]), self.sums[np.ix_(at, at)])

    @property
    def record(self) -> MomentsRecord:
        """The moments as a document; :meth:`of` reads it back exactly."""
        return MomentsRecord(names=list(self.names), sums=self.sums.tolist())

    @classmethod
    def of(cls, record: MomentsRecord) -> Moments:
        """Read what :attr:`record` wrote."""
        return cls(tuple(record.names), np.array(record.sums, np.float64))


def feature_names(features: Sequence[str], bands: int) -> tuple[str, ...]:
    """Name the feature of each component: most features have one a band."""
    return tuple(name for name in features for _ in range(1 if name == "pan_simulated" else bands))


def tile_moments(
    features: Sequence[str],
    ms: Tensor,
    pan: Pixels,
    usable: Tensor,
    operators: Operators,
    *,
    core: Box,
) -> Moments:
    """Gather the moments of one window.

    Features, all on MS's grid: ``ms``; ``ms_low``, MS seen through its own MTF once more; ``pan_low``, PAN through
    each band's MTF; ``pan_simulated``, PAN as its own sensor would see it at MS's resolution; ``lifted`` and
    ``lifted_one``, the adjoint of upsampling applied to PAN and to 1, which give the moments of upsampled bands
    with PAN at PAN's resolution without upsampling any; of ``ms`` and of ``pan_low`` the finest octave (``ms_top``,
    ``pan_top``) and the one below it (``ms_mid``, ``pan_mid``).

    Args:
        features: The names of what is gathered.
        ms: ``(C, h, w)``, a halo around ``core`` included.
        pan: ``(H, W)``.
        usable: ``(h, w)``, True where MS and all PAN pixels under its MTF are valid and not saturated.
        operators: The operators between the two windows.
        core: The MS pixels that count.
    """
    seen = _Seen(ms, pan, operators, Validity(usable[None]).simplified())
    planes = [core.cut(seen.feature(name), operators.ms_box) for name in features]
    chosen, one = core.cut(usable, operators.ms_box), torch.ones_like(core.cut(ms[:1], operators.ms_box))
    table = (torch.cat([one, *planes]) * chosen).flatten(1).double()
    return Moments(feature_names(features, ms.shape[0]), (table @ table.T).cpu().numpy())


@dataclass(frozen=True)
class _Seen:
    """One window, seen in many ways."""

    ms: Tensor
    pan: Pixels
    operators: Operators
    usable: Validity

    def feature(self, name: str) -> Tensor:
        if name not in _FEATURES:
            raise ValueError(f"no such feature: {name}")
        return _FEATURES[name](self)

    @cached_property
    def pan_low(self) -> Tensor:
        return self.operators.pan_down(self.pan.values)

    @cached_property
    def ms_octaves(self) -> tuple[Tensor, Tensor]:
        return octaves(self.ms, self.operators.ms_box, self.usable)

    @cached_property
    def pan_octaves(self) -> tuple[Tensor, Tensor]:
        return octaves(self.pan_low, self.operators.ms_box, self.usable)


_FEATURES: dict[str, Callable[[_Seen], Tensor]] = {
    "ms": lambda seen: seen.ms,
    "ms_low": lambda seen: blur(seen.ms, seen.operators.sampling, seen.operators.ms_box),
    "pan_low": lambda seen: seen.pan_low,
    "pan_simulated": lambda seen: seen.operators.pan_simulated(seen.pan.values),
    "lifted": lambda seen: seen.operators.up_adjoint(seen.pan.values),
    "lifted_one": lambda seen: seen.operators.up_adjoint(torch.ones_like(seen.pan.values)),
    "ms_top": lambda seen: seen.ms_octaves[0],
    "ms_mid": lambda seen: seen.ms_octaves[1],
    "pan_top": lambda seen: seen.pan_octaves[0],
    "pan_mid": lambda seen: seen.pan_octaves[1],
}


def merge(parts: Iterable[Moments]) -> Moments:
    """Add moments up, in order."""
    first, *others = parts
    for part in others:
        first = first + part
    return first
