from __future__ import annotations

import pytest

from clippan_cli.supervision.prompts import KINDS, read_prompts
from clippan_cli.training.data.captions import say_damage, say_error, say_kind
from clippan_cli.training.data.damages import WAYS, Damage
from clippan_cli.training.data.draw import Draw


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_said_in_several_ways(kind: str) -> None:
    said = {say_kind(kind, Draw(seed)) for seed in range(60)}
    assert len(said) >= 4


def test_what_a_supervisor_is_told_later_is_among_them() -> None:
    prompts = read_prompts()
    for kind, text in zip(KINDS, prompts.texts, strict=True):
        assert text in {say_kind(kind, Draw(seed)) for seed in range(200)}


@pytest.mark.parametrize("way", WAYS)
def test_every_damage_has_words_and_its_amount(way: str) -> None:
    least, most, _ = WAYS[way]
    few, many = ({say_damage(Damage(way, x, x / most), Draw(seed)) for seed in range(40)} for x in (least, most))
    assert len(few) > 5
    assert few != many
    assert not any("{" in text for text in few | many)


def test_an_error_is_said_in_percent() -> None:
    assert "7 percent" in say_error(0.07, Draw(0))
    assert "1 percent" in say_error(0.0, Draw(0))
