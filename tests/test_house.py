"""The rules of the house, read off its files: which room may import which, how large things are, what stays outside."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = "clippan_cli"
ROOT = Path(__file__).parents[1]

ROOMS = (
    "errors",
    "base",
    "physics",
    "metrics",
    "scene",
    "networks",
    "supervision",
    "modelstore",
    "fusion",
    "opening",
    "sharpening",
    "assessment",
    "training",
    "batch",
    "cli",
)
"""From the ground floor up: a room imports what stands before it. ``__init__`` and ``__main__`` are the roof."""

OUTSIDE = {
    "scene": {"torch"},
    "physics": {"rasterio"},
    "metrics": {"rasterio"},
    "networks": {"io", "os", "pathlib", "rasterio", "safetensors", "shutil", "tempfile"},
}
"""What a room never imports: scenes learn nothing, physics and metrics read nothing, networks touch no disk."""

UNTYPED = {
    "base/documents.py",  # JSON
    "base/options.py",  # what was stated, for JSON and TOML
    "cli/app.py",  # the configuration file
    "cli/command.py",  # its tables
    "scene/aoi.py",  # GeoJSON
    "scene/find.py",  # lists of scenes
    "scene/sensors.py",  # sensors.toml
    "supervision/encoder.py",  # the configurations of open_clip
}
"""Files on the edge to JSON and TOML, which may say ``dict[str, Any]``."""

MOST_LINES = 400
MOST_POSITIONAL = 5


@dataclass(frozen=True)
class Module:
    """A file of the package.

    Args:
        name: The dotted name, the package's left off; empty for its ``__init__``.
        path: Where it lies.
    """

    name: str
    path: Path

    @property
    def room(self) -> str:
        """The room that it stands in, or its own name."""
        return self.name.partition(".")[0]

    @property
    def at(self) -> str:
        """Where it lies in the package."""
        return self.path.relative_to(ROOT / PACKAGE).as_posix()

    @cache  # noqa: B019 - there are a hundred of them
    def tree(self) -> ast.Module:
        """Return the syntax."""
        return ast.parse(self.path.read_text("utf-8"))

    def imports(self) -> Iterator[str]:
        """Yield the dotted name of all that is imported, in functions and for type checkers too."""
        for node in ast.walk(self.tree()):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.at}:{node.lineno}: a relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def neighbours(self) -> set[str]:
        """Return the names of the modules of the package that it imports."""
        found = set()
        for imported in self.imports():
            head, _, name = imported.partition(".")
            if head == PACKAGE:
                found.add(name if name in MODULES else name.rpartition(".")[0])
        return found


def _modules() -> Iterator[Module]:
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


MODULES = {module.name: module for module in _modules()}
INDOORS = [module for module in MODULES.values() if module.name not in ("", "__main__")]
every = pytest.mark.parametrize("module", INDOORS, ids=lambda module: module.at)


@every
def test_a_room_imports_only_what_stands_before_it(module: Module) -> None:
    floor = ROOMS.index(module.room)
    reached = {name: MODULES[name].room for name in module.neighbours()}
    above = {name or PACKAGE for name, room in reached.items() if room not in ROOMS[: floor + 1]}
    assert not above, f"{module.at} imports what stands above it: {above}"


def test_no_files_import_each_other() -> None:
    try:
        TopologicalSorter({module.name: module.neighbours() - {module.name} for module in INDOORS}).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " → ".join(reversed(error.args[1])))


@every
def test_what_stays_outside_a_room(module: Module) -> None:
    inside = {name.partition(".")[0] for name in module.imports()} & OUTSIDE.get(module.room, set())
    assert not inside, f"{module.at} imports {inside}"


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.cli.app"])
def test_the_start_is_light(module: str) -> None:
    code = f"import sys, {module}\nheavy = {{'torch', 'rasterio', 'numpy'}} & set(sys.modules)\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@every
def test_a_file_has_one_concept(module: Module) -> None:
    lines = len(module.path.read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, f"{module.at} has {lines} lines"
    assert module.path.stem.strip("_") not in ("utils", "util", "common", "helpers", "helper", "misc"), module.at


@every
def test_functions_take_few_values_by_position(module: Module) -> None:
    long = [
        f"{module.at}:{node.lineno} {node.name} ({count})"
        for node in ast.walk(module.tree())
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (count := _positional(node)) > MOST_POSITIONAL
    ]
    assert not long, long


def _positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


@every
def test_constructors_take_few_values_by_position(module: Module) -> None:
    long = [f"{module.at} {name} ({count})" for name, count in _fields(module) if count > MOST_POSITIONAL]
    assert not long, long


def _fields(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each dataclass and NamedTuple of a module, and how many values it takes by position."""
    name = f"{PACKAGE}.{module.name}"
    for kind in vars(import_module(name)).values():
        ours = inspect.isclass(kind) and kind.__module__ == name
        if ours and (is_dataclass(kind) or issubclass(kind, tuple)):
            parameters = inspect.signature(kind).parameters.values()
            yield kind.__name__, len([each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD])


@every
def test_documents_are_typed(module: Module) -> None:
    loose = [n for n, line in enumerate(module.path.read_text("utf-8").splitlines(), 1) if "dict[str, Any]" in line]
    assert module.at in UNTYPED or not loose, f"{module.at} says dict[str, Any] in lines {loose}"


@pytest.mark.parametrize("path", sorted(UNTYPED))
def test_no_exemption_is_left_behind(path: str) -> None:
    assert "dict[str, Any]" in (ROOT / PACKAGE / path).read_text("utf-8")
