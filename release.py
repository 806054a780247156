"""The version of this checkout, which the build asks for: the tag of git, or the newest release of CHANGELOG.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def version(root: Path) -> str:
    """Return the version of the checkout or unpacked archive in a folder.

    It is ``0.2.0`` at the tag ``v0.2.0`` and ``0.2.0.post3+g1a2b3c4`` three commits later. Where git knows no tag (a
    shallow clone, a copy without ``.git``), it is the newest release that CHANGELOG.md dates.
    """
    return _from_git(root) or _from_changelog(root)


def _from_git(root: Path) -> str | None:
    if not (root / ".git").exists():  # git would answer for a repository around this folder
        return None
    command = ["git", "describe", "--tags", "--long", "--match", "v[0-9]*"]
    try:
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, no tag
        return None
    tag, commits, commit = told.strip().removeprefix("v").rsplit("-", 2)
    return tag if commits == "0" else f"{tag}.post{commits}+{commit}"


def _from_changelog(root: Path) -> str:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\d\S*) \(\d{4}-\d\d-\d\d\)$", text, re.MULTILINE)
    if newest is None:
        raise ValueError("CHANGELOG.md dates no release; a heading reads `## 1.2.3 (2026-11-26)`")
    return newest[1]
