"""Every method by its name on the command line."""

from __future__ import annotations

from importlib import import_module

from clippan_cli.errors import UsageError
from clippan_cli.fusion.method import Method

DEFAULT = "mtf-glp-hpm-r"

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


def method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}", "known: " + ", ".join(METHODS))
    module, attribute = METHODS[name].split(":")
    found: type[Method] = getattr(import_module(f"clippan_cli.fusion.{module}"), attribute)
    return found()
