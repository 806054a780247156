from __future__ import annotations

from typing import Any

import pytest

from clippan_cli.base.identity import check_same, tell_apart
from clippan_cli.errors import ClippanError, ModelError, OutputError

KEY: dict[str, Any] = {"version": "1", "options": {"method": "gsa", "seed": 0}, "phases": [[1.5, 1.5]], "model": None}


def test_the_same_run_passes() -> None:
    check_same(KEY, dict(KEY), "out.tif", OutputError)


def test_tuples_are_lists_once_written() -> None:
    check_same(KEY, {**KEY, "phases": ((1.5, 1.5),)}, "out.tif", OutputError)


def test_what_was_not_there_is_none() -> None:
    former = {name: value for name, value in KEY.items() if name != "model"}
    check_same(former, KEY, "out.tif", OutputError)
    with pytest.raises(OutputError, match='another model: null, not "other"'):
        check_same(former, {**KEY, "model": "other"}, "out.tif", OutputError)


@pytest.mark.parametrize("name", KEY)
def test_each_difference_is_named(name: str) -> None:
    with pytest.raises(OutputError) as found:
        check_same(KEY, {**KEY, name: "changed"}, "out.tif", OutputError)
    assert found.value.what.startswith("out.tif belongs to another run, made with another " + name)
    assert found.value.what.endswith('not "changed"')
    assert "`overwrite`" in found.value.hint


def test_all_differences_are_named_at_once() -> None:
    with pytest.raises(OutputError, match='another version: "1", not "2"; another model: null, not 3'):
        check_same(KEY, {**KEY, "version": "2", "model": 3}, "out.tif", OutputError)


def test_one_is_no_true_and_no_text() -> None:
    for value in ("1", [1], {"1": 1}):
        with pytest.raises(ClippanError):
            check_same({"seed": 1}, {"seed": value}, "model", ModelError)


def test_long_values_are_cut() -> None:
    with pytest.raises(ModelError) as found:
        check_same({"files": "é" * 500}, {"files": "b" * 500}, "model", ModelError)
    assert "é…" not in found.value.what[:60]
    assert "é" * 56 + "…" in found.value.what
    assert len(found.value.what) < 250


def test_things_are_told_apart_by_a_few_letters() -> None:
    assert tell_apart(["a", "b"]) == tell_apart(iter(["a", "b"]))
    assert tell_apart(["a"]).startswith("1 (")
    assert len({tell_apart(names) for names in (["a"], ["b"], ["a", "b"], ["b", "a"], ["ab"], [])}) == 6
