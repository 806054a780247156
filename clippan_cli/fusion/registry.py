"""Every method by its name on the command line: the classical ones, and every model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clippan_cli.base.options import option

if TYPE_CHECKING:
    import torch

    from clippan_cli.fusion.method import Method

DEFAULT = "injector-4"
"""The model that ``sharpen`` takes where none is named."""

CLASSICAL = "mtf-glp-hpm-r"
"""The classical method to compare with, and to fall back to."""

ANCHORS = (CLASSICAL, "gsa")
"""The classical methods that a network stands beside; the first is the one to fall back to."""

CONSISTENCY = 2
"""The number of back-projections that usually end a method."""

METHODS = {
    "exp": "substitution:Exp",
    "brovey": "substitution:Brovey",
    "gsa": "substitution:Gsa",
    "bdsd-pc": "substitution:BdsdPc",
    "mtf-glp-fs": "multiresolution:MtfGlpFs",
    "mtf-glp-hpm-r": "multiresolution:MtfGlpHpmR",
    "sr-d": "sparse:SrD",
    "gdal-brovey": "gdal:GdalBrovey",
}


def method(name: str, device: torch.device | str = "cpu", precision: str = "fp32") -> Method:
    """Return the method of a name: a classical one, a shipped model by its id, or a model's folder.

    Args:
        name: The method's name, the model's id or its folder.
        device: The device on which a model will compute.
        precision: How a model will compute: ``"fp32"`` or ``"bf16"``.

    Raises:
        UsageError: There is no such method.
        ModelError: The model cannot be used.
    """
    if name in METHODS:
        module, attribute = METHODS[name].split(":")
        found: type[Method] = getattr(import_module(f"clippan_cli.fusion.{module}"), attribute)
        return found()
    from clippan_cli.fusion.learned import Learned
    from clippan_cli.modelstore.model import find_model

    return Learned(find_model(name), device, precision)


def consistency() -> Any:
    """State the option that says how many back-projections end a method."""
    return option(
        CONSISTENCY,
        "Sets the number of back-projections onto the measured MS; 0 skips them.",
        least=0,
        most=20,
        variable=True,
    )
