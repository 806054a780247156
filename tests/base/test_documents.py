from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clippan_cli.base.documents import as_json, as_plain, from_plain, read_json, schema


@dataclass(frozen=True)
class Inner:
    """A part."""

    name: str
    at: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A document."""

    count: int
    share: float
    nodata: float | str | None = None
    parts: list[Inner]
    more: dict[str, float | None]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INNERS = st.builds(Inner, st.text(), st.tuples(FLOATS, FLOATS))
OUTERS = st.builds(
    Outer,
    count=st.integers(-(2**53), 2**53),
    share=FLOATS,
    nodata=st.none() | FLOATS | st.text(),
    parts=st.lists(INNERS, max_size=3),
    more=st.dictionaries(st.text(), st.none() | FLOATS, max_size=3),
)


@given(OUTERS)
def test_documents_round_trip(document: Outer) -> None:
    text = as_json(document)
    assert from_plain(Outer, json.loads(text)) == document
    assert json.loads(text) == as_plain(document)
    jsonschema.validate(as_plain(document), schema(Outer, "outer"))


@pytest.mark.parametrize(("value", "name"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_numbers_that_json_lacks_become_their_names(value: float, name: str) -> None:
    document = Outer(count=1, share=value, nodata=value, parts=[Inner("a", (value, 0.0))], more={"x": value})
    plain = as_plain(document)
    assert plain["share"] == plain["nodata"] == plain["more"]["x"] == name
    assert plain["parts"][0]["at"] == [name, 0.0]
    json.loads(as_json(document), parse_constant=pytest.fail)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda kids: st.lists(kids, max_size=3)))
def test_plain_values_are_json_whatever_they_hold(value: Any) -> None:
    assert json.loads(as_json(value), parse_constant=pytest.fail) == as_plain(value)


def test_what_is_not_known_is_passed_over() -> None:
    assert from_plain(Inner, {"name": "a", "at": [1, 2], "later": 3}) == Inner("a", (1.0, 2.0))


@pytest.mark.parametrize(
    "plain", [{"name": "a"}, {"name": 3, "at": [1, 2]}, {"name": "a", "at": [1]}, {"name": "a", "at": "12"}, [], None]
)
def test_what_is_missing_or_of_another_type_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match=r"Object|Expected"):
        from_plain(Inner, plain)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "inner.json"
    with pytest.raises(OSError, match=r"inner\.json"):
        read_json(Inner, path)
    path.write_text('{"name": "ä", "at": [1, 2]}', "utf-8")
    assert read_json(Inner, path) == Inner("ä", (1.0, 2.0))
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b'{"name": "a", "at": [1, 2]}}'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_json(Inner, path)


def test_a_schema_refuses_other_documents() -> None:
    found = schema(Inner, "inner")
    assert found["title"] == "inner"
    for plain in ({"name": "a"}, {"name": 3, "at": [1, 2]}, {"name": "a", "at": [1, 2, 3]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(plain, found)
