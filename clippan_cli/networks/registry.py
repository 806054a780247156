"""Every network by its name; a new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from clippan_cli.base.values import Setting
from clippan_cli.errors import UsageError
from clippan_cli.networks.network import Network

NETWORKS = {
    "pnn": "pnn:Pnn",
    "lambda-pnn": "lambda_pnn:LambdaPnn",
    "arbrpn": "arbrpn:ArbRpn",
    "lformer": "lformer:LFormer",
    "pan-mamba": "pan_mamba:PanMamba",
    "ship": "ship:Ship",
    "injector": "injector:Injector",
    "refined": "refined:Refined",
}


def network(name: str, bands: int, /, **settings: Any) -> Network:
    """Make a new network of that name.

    Args:
        name: One of :data:`NETWORKS`.
        bands: The number of MS bands.
        settings: What its class takes besides.

    Raises:
        UsageError: There is no such network, or it has no such setting.
    """
    known = [key for key in signature(_class(name)).parameters if key != "bands"]
    try:
        return _class(name)(bands, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be made with {settings}: {error}", "settings: " + ", ".join(known)) from error


def all_settings(name: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the settings with the defaults of those that are not given: what a model must remember."""
    known = signature(_class(name)).parameters
    return {key: settings.get(key, each.default) for key, each in known.items() if key != "bands"}


def _class(name: str) -> type[Network]:
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}", "known: " + ", ".join(NETWORKS))
    module, attribute = NETWORKS[name].split(":")
    found: type[Network] = getattr(import_module(f"clippan_cli.networks.{module}"), attribute)
    return found
