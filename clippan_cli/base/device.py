"""Where to compute."""

from __future__ import annotations

import torch

from clippan_cli.errors import ResourceError


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU when there is one.

    Raises:
        ResourceError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f"device {name!r} is not available here", "use --device cpu or auto") from error
    return device
