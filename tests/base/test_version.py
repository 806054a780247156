from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

import clippan_cli
import release
from clippan_cli.base.version import ALGORITHM, versions

HERE = Path(release.__file__).parent
Git = Callable[..., None]


def test_the_version_is_that_of_the_installation() -> None:
    assert re.match(r"\d+\.\d+\.\d+", clippan_cli.__version__)
    assert "__version__" in clippan_cli.__all__


def test_everything_with_a_say_in_the_pixels_is_told() -> None:
    told = asdict(versions())
    assert (told["clippan"], told["algorithm"]) == (clippan_cli.__version__, ALGORITHM)
    assert all(told.values())


def test_looking_up_the_version_is_light() -> None:
    code = (
        "import sys, clippan_cli\nassert clippan_cli.__version__\n"
        "heavy = {'torch', 'rasterio', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the build asks."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    changes = "# Changelog\n\n## Unreleased\n\n* More.\n\n## 0.2.0 (2026-11-26)\n\n* New.\n\n## 0.1.0 (2026-11-20)\n"
    (folder / "CHANGELOG.md").write_text(changes)
    return folder


def repository(folder: Path) -> Git:
    """Make a repository with one commit; returns what runs git in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not at hand")

    def git(*words: str) -> None:
        who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "Begin")
    return git


def test_at_a_tag_and_after_it(checkout: Path) -> None:
    git = repository(checkout)
    git("tag", "v0.3.0")
    git("tag", "no-version")
    assert release.version(checkout) == "0.3.0"
    for _ in range(3):
        git("commit", "--allow-empty", "-m", "Go on")
    assert re.fullmatch(r"0\.3\.0\.post3\+g[0-9a-f]{7,}", release.version(checkout))
    git("tag", "v1.0.0rc1")
    assert release.version(checkout) == "1.0.0rc1"


def test_without_tags(checkout: Path) -> None:
    repository(checkout)
    assert release.version(checkout) == "0.2.0"


def test_a_shallow_clone(checkout: Path) -> None:
    git = repository(checkout)
    git("tag", "v0.1.0")
    git("commit", "--allow-empty", "-m", "Go on")
    shallow = checkout.with_name("shallow")
    git("clone", "--depth", "1", checkout.as_uri(), str(shallow))
    shutil.copy(checkout / "CHANGELOG.md", shallow)
    assert release.version(shallow) == "0.2.0"


def test_a_copy_inside_another_repository(checkout: Path) -> None:
    git = repository(checkout.parent)
    git("tag", "v7.0.0")
    assert release.version(checkout) == "0.2.0"


def test_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(checkout)("tag", "v0.3.0")
    monkeypatch.setenv("PATH", "")
    assert release.version(checkout) == "0.2.0"


def test_a_changelog_without_releases_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    with pytest.raises(ValueError, match="dates no release"):
        release.version(checkout)


def test_the_changelog_of_today_dates_a_release() -> None:
    dates = re.findall(
        r"^## (?:Unreleased|\S+ \((\d{4}-\d\d-\d\d)\))$", (HERE / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = [date for date in dates if date]
    assert released == sorted(released, reverse=True)
    assert len(dates) == (HERE / "CHANGELOG.md").read_text().count("\n## ")
