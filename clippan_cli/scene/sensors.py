"""Which sensor took a scene, and what is known of its optics."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from clippan_cli.errors import UsageError
from clippan_cli.scene.raster import Raster

GENERIC_GAIN = 0.30


@dataclass(frozen=True)
class BandOptics:
    """Holds what is known of one band of a sensor.

    Args:
        name: The name that people call it by.
        wavelength: Its centre in nanometres; None where unknown.
        gain: Its MTF at the Nyquist frequency of MS, 0 to 1.
    """

    name: str
    wavelength: float | None
    gain: float


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """Describes a sensor of the table.

    Args:
        id: Its name in options.
        title: Its name for people.
        bands: All its bands but PAN.
        pan_gain: PAN's MTF gain at its Nyquist frequency.
        pan_range: The wavelengths that PAN sees, in nanometres.
        subsets: The band names of products with fewer bands, by their number.
        codes: The band names by the provider's codes.
        match: The patterns that recognise it.
    """

    id: str
    title: str
    bands: tuple[BandOptics, ...]
    pan_gain: float
    pan_range: tuple[float, float]
    subsets: dict[int, tuple[str, ...]]
    codes: dict[str, str]
    match: tuple[re.Pattern[str], ...]

    def optics(self, names: Sequence[str | None]) -> tuple[BandOptics, ...]:
        """Look up the optics of each band of a product, by name where it has one, else by their number."""
        known = {band.name: band for band in self.bands}
        mean = sum(band.gain for band in self.bands) / len(self.bands) if self.bands else GENERIC_GAIN
        by_number = self.subsets.get(len(names), tuple(known) if len(known) == len(names) else ())
        order = () if any(names) else by_number
        found = []
        for index, name in enumerate(names):
            key = self._key(name) or (order[index] if order else None)
            found.append(known[key] if key in known else BandOptics(name or f"band {index + 1}", None, mean))
        return tuple(found)

    def _key(self, name: str | None) -> str | None:
        if not name:
            return None
        code = re.search(r"(?:^|[_\W])(B\d+)(?:$|[_\W])", name, re.IGNORECASE)
        if code and code[1].upper() in self.codes:
            return self.codes[code[1].upper()]
        plain = re.sub(r"[\s_\-]|\d+(\.\d+)?\s*nm", "", name.lower())
        return {"nir1": "nir", "nearinfrared": "nir", "n": "nir", "b": "blue", "g": "green", "r": "red"}.get(
            plain, plain
        )


@cache
def sensors() -> dict[str, Sensor]:
    """Return the table of sensors, by id."""
    text = (resources.files("clippan_cli.scene") / "sensors.toml").read_text("utf-8")
    return {key: _parse(key, entry) for key, entry in tomllib.loads(text).items()}


def _parse(key: str, entry: dict[str, Any]) -> Sensor:
    return Sensor(
        id=key,
        title=entry["title"],
        bands=tuple(BandOptics(name, wavelength, gain) for name, wavelength, gain in entry["bands"]),
        pan_gain=entry["pan"]["gain"],
        pan_range=(entry["pan"]["range"][0], entry["pan"]["range"][1]),
        subsets={int(count): tuple(names) for count, names in entry.get("subsets", {}).items()},
        codes=entry.get("codes", {}),
        match=tuple(re.compile(pattern, re.IGNORECASE) for pattern in entry["match"]),
    )


def find_sensor(name: str | None, rasters: Iterable[Raster]) -> tuple[Sensor, str]:
    """Find the sensor asked for, or the one that tags and names speak of.

    Returns:
        The sensor, and the tag, name or option that named it.

    Raises:
        UsageError: There is no such sensor.
    """
    table = sensors()
    if name is not None:
        if name not in table:
            raise UsageError(f"unknown sensor {name!r}", "known: " + ", ".join(table))
        return table[name], "--sensor"
    for origin, text in _clues(rasters):
        for sensor in table.values():
            if any(pattern.search(text) for pattern in sensor.match):
                return sensor, origin
    return table["generic"], "not recognised"


def _clues(rasters: Iterable[Raster]) -> Iterable[tuple[str, str]]:
    """List the texts that may name the sensor, the most trustworthy first."""
    rasters = list(rasters)
    for raster in rasters:
        for source in raster.datasets:
            for space in (None, "IMD", "IMAGERY"):
                for key, value in source.tags(ns=space).items():
                    if re.search(r"sat|sensor|platform|spacecraft|mission|camera", key, re.IGNORECASE):
                        yield f"tag {key}", value.replace("_", " ")
    for raster in rasters:
        for path in raster.paths:
            parts = Path(path).parts
            yield "file name", parts[-1].replace("_", " ") if parts else path
    for raster in rasters:
        for path in raster.paths:
            for part in reversed(Path(path).parts[-3:-1]):
                yield f"folder {part}", part.replace("_", " ")
