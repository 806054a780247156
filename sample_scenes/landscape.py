"""A town among fields, drawn at PAN's resolution: which material lies where, and how bright it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.float64]

WAVELENGTHS = np.array([430.0, 480, 550, 610, 660, 720, 780, 840, 950, 1600, 2200])

SPECTRA = {
    "water": (0.055, 0.060, 0.058, 0.035, 0.025, 0.016, 0.012, 0.010, 0.008, 0.004, 0.003),
    "grass": (0.030, 0.040, 0.095, 0.070, 0.050, 0.240, 0.420, 0.460, 0.480, 0.250, 0.110),
    "crop": (0.035, 0.048, 0.110, 0.080, 0.060, 0.300, 0.500, 0.540, 0.550, 0.270, 0.130),
    "trees": (0.018, 0.024, 0.055, 0.036, 0.026, 0.150, 0.310, 0.350, 0.360, 0.160, 0.070),
    "soil": (0.080, 0.105, 0.155, 0.205, 0.235, 0.260, 0.280, 0.295, 0.320, 0.400, 0.360),
    "stubble": (0.100, 0.130, 0.200, 0.255, 0.285, 0.310, 0.330, 0.350, 0.380, 0.420, 0.340),
    "asphalt": (0.075, 0.080, 0.090, 0.098, 0.102, 0.108, 0.112, 0.116, 0.120, 0.150, 0.150),
    "concrete": (0.190, 0.215, 0.255, 0.285, 0.300, 0.310, 0.318, 0.325, 0.330, 0.360, 0.340),
    "tile": (0.055, 0.065, 0.100, 0.210, 0.265, 0.290, 0.300, 0.310, 0.330, 0.370, 0.330),
    "slate": (0.085, 0.092, 0.100, 0.104, 0.106, 0.108, 0.110, 0.112, 0.115, 0.130, 0.130),
    "metal": (0.420, 0.450, 0.470, 0.480, 0.485, 0.480, 0.475, 0.470, 0.460, 0.430, 0.400),
    "blue roof": (0.200, 0.230, 0.160, 0.100, 0.090, 0.110, 0.150, 0.190, 0.210, 0.230, 0.210),
    "car": (0.300, 0.200, 0.160, 0.240, 0.300, 0.300, 0.300, 0.300, 0.300, 0.300, 0.300),
}
MATERIALS = tuple(SPECTRA)


@dataclass
class Landscape:
    """What covers the ground.

    Args:
        material: ``(H, W)`` index into ``MATERIALS``.
        brightness: ``(H, W)`` factor on the material's reflectance.
    """

    material: NDArray[np.int64]
    brightness: Plane

    def reflectance(self, low: float, high: float, seed: int) -> Plane:
        """Mean reflectance between two wavelengths (nm), with a faint texture of its own: ``(H, W)``."""
        at = np.linspace(low, high, 9)
        table = np.array([np.interp(at, WAVELENGTHS, SPECTRA[name]).mean() for name in MATERIALS])
        own = 1 + 0.03 * noise(self.material.shape, 3, np.random.default_rng(seed))
        sharp = table[self.material] * self.brightness * own
        return np.asarray(ndimage.gaussian_filter(sharp, 0.6))


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Plane:
    """Smooth noise of unit variance with details of ``scale`` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return np.asarray(field / field.std())


def draw(shape: tuple[int, int], seed: int, metres: float = 0.5) -> Landscape:
    """Draw a landscape of ``shape`` PAN pixels of ``metres``."""
    painter = _Painter(shape, np.random.default_rng(seed), metres)
    painter.fields()
    painter.woods()
    painter.river()
    painter.town()
    painter.roads()
    painter.shade()
    return Landscape(painter.material, painter.brightness)


class _Painter:
    def __init__(self, shape: tuple[int, int], rng: np.random.Generator, metres: float) -> None:
        self.shape, self.rng, self.unit = shape, rng, 0.5 / metres
        self.rows, self.cols = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
        self.material = np.zeros(shape, np.int64)
        self.brightness = np.ones(shape)
        self.height = np.zeros(shape)
        self.wet = np.zeros(shape, bool)

    def _put(self, where: NDArray[np.bool_], material: str, brightness: Plane | float = 1.0) -> None:
        self.material[where] = MATERIALS.index(material)
        self.brightness[where] = np.broadcast_to(brightness, self.shape)[where]

    def _turned(self, angle: float) -> tuple[Plane, Plane]:
        along = self.cols * np.cos(angle) + self.rows * np.sin(angle)
        across = -self.cols * np.sin(angle) + self.rows * np.cos(angle)
        return along, across

    def fields(self) -> None:
        """Parcels along a turned grid with uneven widths, each with its crop and the direction of its rows."""
        along, across = self._turned(0.3)
        bend = 12 * noise(self.shape, 60, self.rng)
        length, width = 190 * self.unit, 110 * self.unit
        strip = np.floor((across + bend) / width).astype(int)
        jitter = self.rng.uniform(0, length, strip.max() - strip.min() + 1)[strip - strip.min()]
        parcel = np.floor((along + jitter) / length).astype(int)
        _, label = np.unique(strip * 1000 + parcel, return_inverse=True)
        label = label.reshape(self.shape)
        grain = noise(self.shape, 1.2, self.rng)
        patches = noise(self.shape, 14, self.rng)
        for index in range(label.max() + 1):
            where = label == index
            crop = self.rng.choice(["crop", "grass", "soil", "stubble", "crop"])
            angle = 0.3 + self.rng.choice([0.0, np.pi / 2]) + self.rng.normal(0, 0.03)
            rows = np.sin(2 * np.pi * self._turned(angle)[1] / self.rng.uniform(5, 11))
            tone = self.rng.uniform(0.75, 1.2)
            self._put(where, crop, tone * (1 + 0.05 * rows + 0.05 * grain + 0.08 * patches))
        edge = ndimage.maximum_filter(label, 3) > ndimage.minimum_filter(label, 3)
        self._put(edge, "grass", 0.8 + 0.1 * grain)

    def woods(self) -> None:
        """Woods of single crowns, and hedges."""
        field = noise(self.shape, 70 * self.unit, self.rng)
        centres = self.rng.uniform(0, 1, (int(self.rows.size / (60 * self.unit**2)), 2)) * self.shape
        for row, col in centres:
            if field[int(row), int(col)] > 1.0:
                self._crown(row, col, self.rng.uniform(3.5, 7) * self.unit)

    def _crown(self, row: float, col: float, radius: float) -> None:
        reach = int(radius) + 2
        top, left = max(0, int(row) - reach), max(0, int(col) - reach)
        box = np.s_[top : int(row) + reach + 1, left : int(col) + reach + 1]
        dy, dx = self.rows[box] - row, self.cols[box] - col
        inside = dy**2 + dx**2 < radius**2
        light = 1 - 0.35 * (dy + dx) / max(radius, 1.0) / 1.4 + self.rng.normal(0, 0.1, inside.shape)
        self.material[box][inside] = MATERIALS.index("trees")
        self.brightness[box][inside] = light[inside] * self.rng.uniform(0.8, 1.2)
        self.height[box][inside] = 8 * self.unit

    def river(self) -> None:
        """A winding river."""
        centre = 0.78 * self.shape[1] + 30 * self.unit * np.sin(self.rows / (70 * self.unit)) + 0.12 * self.rows
        distance = np.abs(self.cols - centre)
        width = 26 * self.unit + 4 * noise(self.shape, 40, self.rng)
        self._put(distance < width + 5, "soil", 0.8)
        self.wet = distance < width
        self._put(self.wet, "water", 1 + 0.05 * noise(self.shape, 1.5, self.rng))
        self.height[distance < width + 5] = 0

    def town(self) -> None:
        """Houses along streets, with gardens, and a few halls."""
        along, across = self._turned(-0.15)
        centre = np.array(self.shape) * (0.42, 0.38)
        inside = np.hypot(self.rows - centre[0], self.cols - centre[1]) + 25 * noise(self.shape, 40, self.rng)
        urban = (inside < 0.30 * min(self.shape)) & ~self.wet
        self._put(urban, "grass", 0.8 + 0.12 * noise(self.shape, 2, self.rng))
        self.height[urban] = 0
        pitch_along, pitch_across = 44 * self.unit, 70 * self.unit
        street = (np.mod(along, 4 * pitch_along) < 9 * self.unit) | (np.mod(across, pitch_across) < 9 * self.unit)
        self._put(urban & street, "asphalt", 1 + 0.04 * noise(self.shape, 1, self.rng))
        self._houses(urban, along, across, pitch_along, pitch_across)
        for row, col in self.rng.uniform(0, 1, (int(urban.sum() / (900 * self.unit**2)), 2)) * self.shape:
            r, c = int(row), int(col)
            if urban[r, c] and self.material[r, c] == MATERIALS.index("grass"):
                self._crown(row, col, self.rng.uniform(2.5, 5) * self.unit)

    def _houses(self, urban: NDArray[np.bool_], along: Plane, across: Plane, da: float, dc: float) -> None:
        column, line = np.floor(along / da).astype(int), np.floor(across / dc).astype(int)
        _, label = np.unique(line * 10000 + column, return_inverse=True)
        label = label.reshape(self.shape)
        where, grain = np.mod(along, da), 0.04 * noise(self.shape, 1, self.rng)
        for index, box in enumerate(ndimage.find_objects(label + 1)):
            lot = (label[box] == index) & urban[box]
            if lot.sum() < 0.8 * da * dc or self.rng.random() < 0.08:
                continue
            big = self.rng.random() < 0.12
            back = self.rng.uniform(13, 18) * self.unit
            deep = (42 if big else self.rng.uniform(18, 27)) * self.unit
            side = (2 if big else self.rng.uniform(6, 11)) * self.unit
            a, c = where[box], np.mod(across[box], dc)
            house = lot & (a > side) & (a < da - side) & (c > back) & (c < back + deep)
            roof = self.rng.choice(
                ["metal", "concrete", "blue roof"] if big else ["tile", "tile", "slate", "concrete", "metal"]
            )
            ridge = 1.0 if big else np.where(c > back + deep / 2, 0.72, 1.12)
            tone = self.rng.uniform(0.8, 1.15) * ridge * (1 + grain[box])
            self.material[box][house] = MATERIALS.index(str(roof))
            self.brightness[box][house] = np.broadcast_to(tone, house.shape)[house]
            self.height[box][house] = (9 if big else 6) * self.unit * 2

    def roads(self) -> None:
        """Two country roads with lines and cars, and a bridge."""
        for angle, offset in ((0.12, 0.62), (1.45, -0.30)):
            along, across = self._turned(angle)
            middle = offset * self.shape[0] + 25 * self.unit * np.sin(along / (150 * self.unit))
            distance = across - middle
            road = np.abs(distance) < 7 * self.unit
            self._put(road, "asphalt", 0.9 + 0.04 * noise(self.shape, 1, self.rng))
            self._put((np.abs(distance) < 0.5) & (np.mod(along, 18 * self.unit) < 9 * self.unit), "metal", 0.8)
            self._put(road & self.wet & (np.abs(distance) > 5.5 * self.unit), "concrete")
            self.height[road] = 0
            for place in self.rng.uniform(along.min(), along.max(), 26):
                lane = self.rng.choice([-3.5, 3.5]) * self.unit
                car = (np.abs(along - place) < 4.5 * self.unit) & (np.abs(distance - lane) < 1.9 * self.unit)
                self._put(car, str(self.rng.choice(["car", "metal", "slate", "blue roof"])))
                self.height[car] = 2 * self.unit

    def shade(self) -> None:
        """Shadows to the lower right of whatever is high."""
        shadow = np.zeros(self.shape, bool)
        for step in range(1, int(self.height.max()) + 1):
            moved = ndimage.shift(self.height, (0.7 * step, 0.7 * step), order=0)
            shadow |= moved - self.height >= step
        self.brightness[shadow] *= 0.32
