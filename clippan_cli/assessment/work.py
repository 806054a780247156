"""What an assessment works on: the scene, the image, the truth, and who is judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from clippan_cli.assessment.contenders import Contender, line_up
from clippan_cli.assessment.inputs import check_unit, open_image
from clippan_cli.assessment.options import AssessOptions
from clippan_cli.base.geometry import Box
from clippan_cli.base.listener import Listener
from clippan_cli.base.pipeline import Clock
from clippan_cli.errors import InputError
from clippan_cli.opening.scene import Scene
from clippan_cli.scene.raster import Raster
from clippan_cli.sharpening.job import chosen_bands


@dataclass(frozen=True)
class Image:
    """Holds a raster on PAN's grid, or on a part of it.

    Args:
        raster: The file.
        area: The pixels of PAN's grid that it covers.
    """

    raster: Raster
    area: Box


@dataclass(frozen=True, kw_only=True)
class Work:
    """Holds everything that is judged.

    Args:
        scene: The scene.
        options: What the user said.
        bands: The MS bands that are judged, counted from 0.
        image: The image; None to compare methods.
        reference: The truth; None without one.
        contenders: The contenders that are judged.
        hears: The listener, who hears of progress.
        stop: The event that stops the work; it is set from outside.
        clock: The clock that books the times.
    """

    scene: Scene
    options: AssessOptions
    bands: tuple[int, ...]
    image: Image | None
    reference: Image | None
    contenders: tuple[Contender, ...]
    hears: Listener
    stop: Event
    clock: Clock = field(default_factory=Clock)


@contextmanager
def open_work(scene: Scene, hrms: str | None, options: AssessOptions, hears: Listener, stop: Event) -> Iterator[Work]:
    """Open what is judged.

    Args:
        scene: The scene.
        hrms: The image; None to compare methods.
        options: What the user said.
        hears: The listener, who hears of progress.
        stop: The event that stops the work; it is set from outside.

    Raises:
        InputError: A file does not belong to the scene, with the numbers.
        UsageError: MS has no such band.
    """
    bands = chosen_bands(options.bands, scene.pair.ms)
    with ExitStack() as stack:

        def open_checked(path: str | None, what: str) -> Image | None:
            if path is None:
                return None
            raster, area = open_image(stack, path, what, scene.pair, bands=bands, src_nodata=options.scene.src_nodata)
            check_unit(raster, what, area, scene.pair, samples=scene.known.samples, bands=bands)
            return Image(raster, area)

        image, reference = open_checked(hrms, "the image"), open_checked(options.reference, "the reference")
        if image is not None and reference is not None and reference.area != image.area:
            raise InputError(
                f"the reference covers {_extent(reference.area)} of PAN's grid, the image {_extent(image.area)}",
                "crop both to the same extent",
            )
        name = None if image is None else Path(image.raster.name).name
        yield Work(
            scene=scene,
            options=options,
            bands=bands,
            image=image,
            reference=reference,
            contenders=line_up(options, name, scene.machine),
            hears=hears,
            stop=stop,
        )


def _extent(box: Box) -> str:
    return f"rows {box.rows.start}–{box.rows.stop}, columns {box.cols.start}–{box.cols.stop}"
