from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clippan_cli.base.values import (
    BANDS,
    CONFIG,
    CREATION,
    NAMES,
    NODATA,
    SETTINGS,
    SHIFT,
    SIZE,
    THREADS,
    WEIGHTS,
    Form,
    Setting,
)
from clippan_cli.errors import UsageError


def _numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz_-", min_size=1).filter(lambda word: word not in ("nan", "inf", "infinity"))
KEYS = st.text("ABCXYZ_09", min_size=1)
ONE_BY_ONE = {
    SHIFT: st.sampled_from(["auto", "off"]) | st.tuples(_numbers(-99, 99), _numbers(-99, 99)),
    NODATA: st.just("none") | _numbers(-3.5e38, 3.5e38) | st.sampled_from([math.inf, -math.inf]),
    SIZE: st.integers(1, 2**50),
    THREADS: st.integers(0, 10_000),
    NAMES: st.lists(WORDS, min_size=1).map(tuple),
}
TOGETHER = {
    CREATION: st.dictionaries(KEYS, st.text()),
    CONFIG: st.dictionaries(KEYS, st.text()),
    WEIGHTS: st.dictionaries(WORDS, _numbers(0, 1e6)),
    SETTINGS: st.dictionaries(
        WORDS, st.integers() | _numbers(-1e6, 1e6) | WORDS | st.tuples(st.integers(0, 99), st.integers(0, 99))
    ),
}


@given(st.sampled_from(list(ONE_BY_ONE)).flatmap(lambda form: st.tuples(st.just(form), ONE_BY_ONE[form])))
def test_what_is_spelled_is_read_again(case: tuple[Form[Any], Any]) -> None:
    form, value = case
    assert not form.several
    assert form.read("key", form.spell(value)) == value


@given(st.sampled_from(list(TOGETHER)).flatmap(lambda form: st.tuples(st.just(form), TOGETHER[form])))
def test_pairs_are_spelled_one_by_one(case: tuple[Form[Any], dict[str, Any]]) -> None:
    form, pairs = case
    assert form.several
    assert form.read("key", [form.spell({name: value}) for name, value in pairs.items()]) == pairs


@given(st.lists(st.integers(0, 300), min_size=1).map(tuple))
def test_bands_are_spelled_in_their_order(bands: tuple[int, ...]) -> None:
    assert BANDS.read("bands", [BANDS.spell(bands)]) == bands


def test_not_a_number_is_spelled() -> None:
    assert NODATA.spell(math.nan) == "nan"
    assert math.isnan(float(NODATA.read("src_nodata", "NaN") or 0))


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (SHIFT, "-0.5, 0.25", (-0.5, 0.25)),
        (SHIFT, "0,0", (0.0, 0.0)),
        (NODATA, "NONE", "none"),
        (NODATA, "null", "none"),
        (NODATA, "-9999", -9999.0),
        (SIZE, "2G", 2 << 30),
        (SIZE, "512m", 512 << 20),
        (SIZE, " 1.5 GiB ", 3 << 29),
        (SIZE, "100", 100),
        (SIZE, "7B", 7),
        (THREADS, "all_cpus", 0),
        (THREADS, "12", 12),
        (BANDS, ["3", "1..2"], (3, 1, 2)),
        (BANDS, ["4..4, 1"], (4, 1)),
        (BANDS, [], None),
        (CREATION, ["compress=zstd", "X=a=b", "Y="], {"COMPRESS": "zstd", "X": "a=b", "Y": ""}),
        (WEIGHTS, ["Language=0", "language=0.5"], {"language": 0.5}),
        (SETTINGS, ["Width=32", "x=0.5", "kind=deep"], {"width": 32, "x": 0.5, "kind": "deep"}),
        (NAMES, " gsa ,, exp", ("gsa", "exp")),
    ],
)
def test_texts_that_people_write(form: Form[Any], text: Any, value: Any) -> None:
    assert form.read("key", text) == value


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        (SHIFT, ["maybe", "1", "1,2,3", "nan,0", "0,inf", "", "a,b"]),
        (NODATA, ["zero", "", "1,2"]),
        (SIZE, ["lots", "", "0", "-1G", "1.2.3G", "2X", "G", ".", "9" * 400, "9" * 30 + "G"]),
        (THREADS, ["many", "²", "0", "-1", "1.5", ""]),
        (NAMES, ["", ",", " , "]),
    ],
)
def test_texts_that_are_refused(form: Form[Any], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(UsageError) as found:
            form.read("own_key", text)
        assert found.value.hint, text
        assert "`own_key" in found.value.what + found.value.hint, text


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        (BANDS, ["1-3", "x", "", "1..", "3..1", "1.5", "-1"]),
        (CREATION, ["COMPRESS", "=ZSTD", ""]),
        (WEIGHTS, ["language", "language=much", "language=-1", "language=nan", "language=inf", "language="]),
        (SETTINGS, ["width", "=3"]),
    ],
)
def test_lists_of_texts_that_are_refused(form: Form[Any], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(UsageError, match="`own_key") as found:
            form.read("own_key", [text])
        assert found.value.hint, text


@given(st.text(st.characters(codec="ascii")))
def test_no_text_breaks_a_form(text: str) -> None:
    forms: list[Form[Any]] = [SHIFT, NODATA, SIZE, THREADS, NAMES, BANDS, CREATION, WEIGHTS, SETTINGS]
    for form in forms:
        try:
            value: Setting | Any = form.read("key", [text] if form.several else text)
        except UsageError:
            continue
        assert value is not None
