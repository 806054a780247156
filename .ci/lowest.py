"""Print the lowest versions that pyproject.toml names, as constraints for pip.

Torch and torchvision stay as they come: PyPI has their lowest versions for CUDA only, gigabytes of it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

AS_THEY_COME = ("torch", "torchvision")


def main() -> None:
    """Print one line a package."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    for requirement in project["dependencies"]:
        name, lowest = re.split(">=|,", requirement)[:2]
        if name not in AS_THEY_COME:
            print(f"{name}=={lowest}")


main()
