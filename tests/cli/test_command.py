"""From options to a command line and back: flags, words, variables, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from clippan_cli import (
    AblateOptions,
    AdaptOptions,
    AssessOptions,
    PretrainOptions,
    SharpenOptions,
    TrainOptions,
    TuneOptions,
)
from clippan_cli.base.options import Entry, build, entries, identity, spelled
from clippan_cli.cli.app import app, group
from clippan_cli.cli.command import Call, command

KINDS = (SharpenOptions, AssessOptions, AdaptOptions, TrainOptions, TuneOptions, PretrainOptions, AblateOptions)


def parser(kind: type[Any]) -> Callable[..., Any]:
    """The command ``it``, which takes these options and returns them; words come first, then variables."""
    found: list[Any] = []

    def it(call: Call, *, options: Any) -> None:
        found.append(options)

    it.__annotations__ = {"call": Call, "options": kind}
    made = typer.Typer()
    made.callback()(group)
    made.command()(command(it))

    def parse(*words: str, before: tuple[str, ...] = (), **environment: str) -> Any:
        found.clear()
        result = CliRunner().invoke(made, [*before, "it", *words], env=environment)
        assert result.exit_code == 0, result.output
        return found[0]

    return parse


PARSERS = {kind: parser(kind) for kind in KINDS}


def other(entry: Entry) -> Any:
    """A value that is not the default's, and that a printed command can repeat."""
    special: dict[str, Any] = {
        "register": (-0.5, 0.25),
        "src_nodata": -9999.0,
        "dst_nodata": "none",
        "mtf_gain": 0.25,
        "rate": 0.25,
        "bands": 3 if entry.kind == int | None else (3, 1, 2),
        "losses": {"language": 0.5, "spatial": 0.0},
        "settings": {"width": 32, "scale": 0.5, "kind": "deep"},
        "creation": {"COMPRESS": "ZSTD", "ZLEVEL": "9"},
        "config": {"GDAL_NUM_THREADS": "2"},
        "compare": ("gsa", "exp"),
        "images": ("one", "two"),
        "scenes": ("one", "two"),
        "tile_size": 512,
        "memory": 3 << 29,
        "jobs": 3,
    }
    if entry.key in special:
        return special[entry.key]
    if isinstance(entry.default, bool):
        return not entry.default
    if isinstance(entry.default, int):
        return entry.default * 2 + 1
    if isinstance(entry.default, float):
        return round(entry.default * 2 + 1, 5)
    return "mine"


def text(entry: Entry) -> str:
    """The value as a variable of the environment holds it."""
    value = other(entry)
    return str(int(value)) if isinstance(value, bool) else entry.text(value)


EACH = [(kind, entry) for kind in KINDS for entry in entries(kind)]


def each(cases: list[tuple[type[Any], Entry]]) -> pytest.MarkDecorator:
    """Give a test each option of each kind."""
    names = [f"{kind.__name__}-{entry.key}" for kind, entry in cases]
    return pytest.mark.parametrize(("kind", "entry"), cases, ids=names)


@pytest.mark.parametrize("kind", KINDS)
def test_no_words_are_the_defaults(kind: type[Any]) -> None:
    assert PARSERS[kind]() == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_printed_words_make_the_same_run(kind: type[Any]) -> None:
    options = build(kind, {entry.key: other(entry) for entry in entries(kind)})
    again = PARSERS[kind](*spelled(options))
    assert identity(again) == identity(options)
    for entry in entries(kind):
        assert entry.value(again) == (other(entry) if entry.repeated else entry.default), entry.key


@settings(max_examples=25)
@given(st.sampled_from(KINDS), st.data())
def test_any_choice_of_options_is_repeated(kind: type[Any], data: st.DataObject) -> None:
    repeated = {entry.key: entry for entry in entries(kind) if entry.repeated}
    chosen = data.draw(st.sets(st.sampled_from(sorted(repeated))))
    options = build(kind, {key: other(repeated[key]) for key in chosen})
    assert PARSERS[kind](*spelled(options)) == options


@each([case for case in EACH if case[0] in (SharpenOptions, TrainOptions)])
def test_each_flag_sets_its_option_and_no_other(kind: type[Any], entry: Entry) -> None:
    value = other(entry)
    words: list[str] = []
    for item in value.items() if isinstance(value, dict) else [value]:
        if isinstance(value, bool):
            words = [entry.flag if value else f"--no-{entry.flag[2:]}"]
        else:
            words += [entry.flag, entry.text(dict([item]) if isinstance(value, dict) else item)]
    assert PARSERS[kind](*words) == build(kind, {entry.key: value})


@each([case for case in EACH if case[1].variable])
def test_each_variable_sets_its_option_and_no_other(kind: type[Any], entry: Entry) -> None:
    assert entry.variable is not None
    assert PARSERS[kind](**{entry.variable: text(entry)}) == build(kind, {entry.key: other(entry)})


def test_options_without_a_variable_have_none() -> None:
    everything = {f"CLIPPAN_{name}": "7" for name in ("SEED", "RATE", "ITERATIONS", "OVERWRITE", "RESUME", "BATCH")}
    assert PARSERS[TrainOptions](**everything) == TrainOptions()


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("guard = false", "guard", False),
        ("warp = true", "warp", True),
        ("consistency = 1", "consistency", 1),
        ("mtf-gain = 0.3", "mtf_gain", 0.3),
        ('memory = "1.5G"', "memory", 3 << 29),
        ("j = 3", "jobs", 3),
        ('jobs = "ALL_CPUS"', "jobs", 0),
        ("src-nodata = 0", "src_nodata", 0.0),
        ('dst-nodata = "none"', "dst_nodata", "none"),
        ('register = "0.5,-1"', "register", (0.5, -1.0)),
        ("bidx = 3", "bands", (3,)),
        ("bidx = [3, 1]", "bands", (3, 1)),
        ('b = "2..4"', "bands", (2, 3, 4)),
        ('co = ["COMPRESS=ZSTD", "LEVEL=9"]', "creation", {"COMPRESS": "ZSTD", "LEVEL": "9"}),
        ('creation-option = "COMPRESS=ZSTD"', "creation", {"COMPRESS": "ZSTD"}),
        ('driver = "COG"', "driver", "COG"),
        ("tile-size = 256", "tile_size", 256),
    ],
)
def test_a_table_sets_an_option(tmp_path: Path, line: str, key: str, value: Any) -> None:
    config = tmp_path / "clippan.toml"
    config.write_text(f"[it]\n{line}\n")
    wanted = build(SharpenOptions, {key: value})
    assert PARSERS[SharpenOptions](before=("--config-file", str(config))) == wanted
    assert PARSERS[SharpenOptions](CLIPPAN_CONFIG_FILE=str(config)) == wanted


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("tile_size", ["--tile-size", "128"]),
        ("register", ["--register", "off"]),
        ("creation", ["--co", "A=1"]),
        ("bands", ["-b", "4"]),
        ("guard", ["--guard"]),
    ],
)
def test_words_come_before_variables_before_the_table(tmp_path: Path, entry: str, words: list[str]) -> None:
    (found,) = [one for one in entries(SharpenOptions) if one.key == entry]
    table = {"tile_size": "tile-size = 64", "register": 'register = "1,1"', "creation": 'co = ["B=2", "C=3"]',
             "bands": "bidx = [1, 2]", "guard": "guard = true"}  # fmt: skip
    variable = {"tile_size": "512", "register": "2,2", "creation": "D=4 E=5", "bands": "3", "guard": "0"}
    config = tmp_path / "clippan.toml"
    config.write_text(f"[it]\n{table[entry]}\n")
    parse, before = PARSERS[SharpenOptions], ("--config-file", str(config))
    said = parse(*words)
    assert found.variable is not None
    environment = {found.variable: variable[entry]}
    assert parse(*words, before=before, **environment) == said
    assert parse(before=before, **environment) == parse(**environment)
    assert parse(before=before) not in (said, parse(**environment)) or entry == "guard"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[sharpen]\nmagic = 1\n", "[sharpen] has no option 'magic'"),
        ("[sharpen]\ntile_size = 64\n", "[sharpen] has no option 'tile_size'"),
        ("[sharpen]\nbands = 3\n", "[sharpen] has no option 'bands'"),
        ("[train]\nmemory = '2G'\n", "[train] has no option 'memory'"),
        ("[models]\nid = 'x'\n", "[models] has no option 'id'"),
        ("[dance]\n", "[dance] is no table of a command"),
        ("tile-size = 64\n", "[tile-size] is no table of a command"),
        ("[[sharpen]]\n", "[sharpen] is no table of a command"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, content: str, said: str) -> None:
    config = tmp_path / "clippan.toml"
    config.write_text(content)
    result = CliRunner().invoke(app, ["--config-file", str(config), "info", "a", "b"])
    assert result.exit_code == 2
    assert result.stdout == ""
    error, hint = result.stderr.splitlines()
    assert error == f"error: {config}: {said}"
    assert hint.startswith("hint: known: ")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config-file", str(tmp_path / "no.toml"), "info", "a", "b"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: cannot read {tmp_path / 'no.toml'}: ")


def parameters() -> list[tuple[str, list[Any]]]:
    """Every command by its words, with its parameters."""
    found = []
    root: Any = typer.main.get_command(app)
    for name, one in root.commands.items():
        if hasattr(one, "commands"):
            found += [(f"{name} {below}", part.params) for below, part in one.commands.items()]
        else:
            found.append((name, one.params))
    return found


COMMANDS = parameters()


@pytest.mark.parametrize(("words", "params"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_no_two_parameters_share_a_flag(words: str, params: list[Any]) -> None:
    flags = [flag for param in params if param.param_type_name == "option"
             for flag in (*param.opts, *param.secondary_opts)]  # fmt: skip
    assert len(flags) == len(set(flags))
    assert not {"-h", "--help"} & set(flags)


@pytest.mark.parametrize(("words", "params"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_help_mentions_each_flag_variable_and_bound(words: str, params: list[Any]) -> None:
    result = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for param in params:
        if param.param_type_name != "option":
            continue
        shown = not getattr(param, "hidden", False)
        for flag in (*param.opts, *param.secondary_opts):
            assert (flag in result.stdout) == shown, flag
        if shown and param.envvar:
            assert param.envvar in result.stdout
        if shown:
            assert param.help[0].isupper()
            assert param.help.endswith((".", "…"))
    assert CliRunner().invoke(app, [*words.split(), "-h"], env={"COLUMNS": "400"}).exit_code == 0


def usage(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    "words",
    [
        ("sharpen", "a", "b", "--tile-size", "63"),
        ("sharpen", "a", "b", "--consistency", "21"),
        ("sharpen", "a", "b", "--mtf-gain", "1"),
        ("sharpen", "a", "b", "--tile-size", "many"),
        ("sharpen", "a", "b", "--magic"),
        ("sharpen", "a", "b", "--register"),
        ("train", "--scenes", "a", "-o", "b", "--batch", "0"),
        ("train", "--scenes", "a", "-o", "b", "--rate", "-1"),
        ("assess", "a", "b", "c", "--min-hqnr", "1.5"),
        ("models", "show"),
        ("dance",),
    ],
)
def test_bounds_and_unknown_words(words: tuple[str, ...]) -> None:
    result = usage(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_the_command_alone_helps() -> None:
    for words in ((), ("models",)):
        result = usage(*words)
        assert result.exit_code in (0, 2)
        assert "Usage" in result.output
