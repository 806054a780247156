from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clippan_cli
from clippan_cli import (
    AblateOptions,
    AdaptOptions,
    AssessOptions,
    ClipOptions,
    MachineOptions,
    PretrainOptions,
    SceneOptions,
    SharpenOptions,
    TrainOptions,
    TuneOptions,
)
from clippan_cli.assessment.options import GateOptions
from clippan_cli.base.options import build, entries, identity, option, spell, spelled, stated
from clippan_cli.base.values import BANDS, WEIGHTS

KINDS = (
    SharpenOptions,
    AssessOptions,
    AdaptOptions,
    TrainOptions,
    TuneOptions,
    PretrainOptions,
    AblateOptions,
    SceneOptions,
    MachineOptions,
    ClipOptions,
    GateOptions,
)
TRAININGS = (AdaptOptions, TrainOptions, TuneOptions, PretrainOptions)


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_options_share_a_key_a_flag_or_a_variable(kind: type[Any]) -> None:
    found = list(entries(kind))
    flags = [part for entry in found for flag in entry.flags for part in flag.split("/")]
    variables = [entry.variable for entry in found if entry.variable]
    for names in ([entry.key for entry in found], flags, variables):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS)
def test_help_is_a_sentence(kind: type[Any]) -> None:
    for entry in entries(kind):
        text = entry.option.help
        assert re.match(r"[A-Z][a-z]+s\b", text), f"{entry.key}: {text}"
        assert text.endswith((".", "…")), f"{entry.key}: {text}"
        assert "  " not in text
        assert "`" not in text, f"{entry.key}: people see flags, not keys"


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_what_the_dataclass_has(kind: type[Any]) -> None:
    for entry in entries(kind):
        assert entry.value(kind()) == entry.default
        least, most = entry.option.least, entry.option.most
        if isinstance(entry.default, (int, float)):
            assert least is None or entry.default >= least
            assert most is None or entry.default <= most
    assert build(kind, {}) == kind()
    assert build(kind, stated(kind())) == kind()
    assert spelled(kind()) == []


def test_dictionaries_are_not_shared() -> None:
    SharpenOptions().creation["COMPRESS"] = "NONE"
    assert SharpenOptions().creation == {}
    assert next(entry for entry in entries(SharpenOptions) if entry.key == "creation").default == {}


def test_options_laid_flat_are_built_deep() -> None:
    made = build(SharpenOptions, {"method": "gsa", "warp": True, "memory": 1, "unknown": 3})
    assert made == SharpenOptions(method="gsa", scene=SceneOptions(warp=True), machine=MachineOptions(memory=1))
    assert stated(made)["warp"] is True
    assert build(AblateOptions, {"clip": "RN50"}).training.clip.clip == "RN50"


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_matter_is_no_identity(kind: type[Any]) -> None:
    idle = {"memory", "jobs", "overwrite", "resume", "config", "every", "download"}
    # What these hold counts, not where it lies: trainings note it by its digest.
    noted = {"clip_weights", "prompts", "images", "scenes"}
    left_out = set(stated(kind())) - set(identity(kind()))
    assert left_out == (idle | noted | ({"device"} if "seed" in stated(kind()) else set())) & set(stated(kind()))


@pytest.mark.parametrize("kind", KINDS)
def test_identity_tells_runs_apart(kind: type[Any]) -> None:
    usual = identity(kind())
    for entry in entries(kind):
        other = identity(build(kind, {entry.key: "something else"}))
        assert (other != usual) == entry.option.identity, entry.key


@pytest.mark.parametrize("kind", KINDS)
def test_a_printed_command_repeats_all_that_makes_the_run(kind: type[Any]) -> None:
    for entry in entries(kind):
        if entry.option.identity:
            assert entry.repeated, entry.key
        assert not (entry.key in ("overwrite", "resume", "memory", "jobs", "every") and entry.repeated)


def test_words_of_each_kind_of_value() -> None:
    options = build(
        SharpenOptions,
        {
            "guard": False,
            "warp": True,
            "bands": (3, 1),
            "register": (-0.5, 0.25),
            "src_nodata": "none",
            "mtf_gain": 0.3,
            "creation": {"COMPRESS": "ZSTD", "LEVEL": "9"},
            "aoi": "/some/where/aoi.geojson",
            "tile_size": 512,
            "overwrite": True,
            "memory": 1 << 30,
        },
    )
    wanted = {
        ("--no-guard",), ("--warp",), ("--bidx", "3,1"), ("--register", "-0.5,0.25"), ("--src-nodata", "none"),
        ("--mtf-gain", "0.3"), ("--co", "COMPRESS=ZSTD"), ("--co", "LEVEL=9"), ("--aoi", "aoi.geojson"),
        ("--tile-size", "512"),
    }  # fmt: skip
    words = " ".join(spelled(options))
    assert sorted(words.split()) == sorted(word for group in wanted for word in group)
    for group in wanted:
        assert " ".join(group) in words
    assert "--bidx" not in spelled(options, "bands")


def test_places_are_printed_by_their_names() -> None:
    options = PretrainOptions(images=("/data/a", "b/c"), init="/models/mine")
    assert spelled(options) == ["--images", "a", "--images", "c", "--init", "mine"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`src_nodata=none`", "--src-nodata none"),
        ("`guard=false`", "--no-guard"),
        ("`guard=true` or `guard`", "--guard or --guard"),
        ("`bands` 'x' is not a band", "--bidx 'x' is not a band"),
        ("`creation=COMPRESS=ZSTD`", "--co COMPRESS=ZSTD"),
        ("`driver=COG`", "--of COG"),
        ("`min_hqnr` is not known here", "--min-hqnr is not known here"),
        ("`device=cpu`, then `jobs`", "--device cpu, then --jobs"),
        ("leave `Text` and ``src_nodata``, `a b` and `3` alone", None),
        ("no key, only `", None),
        ("", None),
    ],
)
def test_keys_in_texts_are_spelled(text: str, said: str | None) -> None:
    if said is None and "``" in text:
        # Double backticks are never used in messages; their inner pair is a key like any other.
        said = text.replace("`src_nodata`", "--src-nodata")
    assert spell(text, SharpenOptions) == (text if said is None else said)


def test_the_first_kind_that_knows_a_key_spells_it() -> None:
    @dataclass
    class Other:
        bands: int = option(1, "Sets it.", "--other")

    assert spell("`bands`", Other, SharpenOptions) == "--other"
    assert spell("`bands`", SharpenOptions, Other) == "--bidx"
    assert spell("`bands`") == "--bands"


@given(st.text(st.characters(exclude_characters="`")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert spell(text, *KINDS) == text


@dataclass(frozen=True)
class _Part:
    deep: bool = option(True, "Digs.", variable=True)


@dataclass(frozen=True)
class _Sample:
    own_name: int = option(1, "Counts.", least=0)
    short: str = option("a", "Names.", "-s", "--shorter", "--the-longest", variable=True)
    only: str = option("a", "Names.", "-o", variable=True)
    part: _Part = field(default_factory=_Part)
    bands: tuple[int, ...] | None = option(None, "Chooses.", form=BANDS)
    losses: dict[str, float] = option({}, "Weighs.", "--loss", form=WEIGHTS)
    not_an_option: int = 3


def test_flags_are_derived() -> None:
    found = {entry.key: entry for entry in entries(_Sample)}
    assert list(found) == ["own_name", "short", "only", "deep", "bands", "losses"]
    assert {key: entry.flag for key, entry in found.items()} == {
        "own_name": "--own-name",
        "short": "--shorter",
        "only": "-o",
        "deep": "--deep",
        "bands": "--bands",
        "losses": "--loss",
    }
    assert found["deep"].flags == ("--deep/--no-deep",)
    assert found["deep"].path == ("part", "deep")
    assert found["short"].variable == "CLIPPAN_THE_LONGEST"
    assert found["deep"].variable == "CLIPPAN_DEEP"
    assert found["own_name"].variable is None
    made = build(_Sample, {"deep": False, "losses": {"a": 0.5, "b": 0.0}})
    assert spelled(made) == ["--no-deep", "--loss", "a=0.5", "--loss", "b=0"]


def test_options_are_frozen_and_exported() -> None:
    for kind in KINDS:
        assert dataclasses.fields(kind)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(kind(), dataclasses.fields(kind)[0].name, None)
    for name in clippan_cli.__all__:
        assert getattr(clippan_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        clippan_cli.magic  # noqa: B018
