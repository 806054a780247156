from __future__ import annotations

from pathlib import Path

import pytest

from clippan_cli.errors import UsageError
from clippan_cli.supervision.prompts import read_prompts, wordings


def test_the_papers_wordings() -> None:
    assert wordings() == ["wald", "khan", "first", "second", "noise"]
    wald = read_prompts()
    assert wald.texts[:2] == ["a multispectral image", "a panchromatic image"]
    assert "Wald" in wald.hrms
    assert read_prompts("second").hrms == "a fused product of the MS and PAN images"
    assert len({read_prompts(name).hrms for name in wordings()}) == 5


def test_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('ms = "blurred colours"\n[hrms]\nmine = "sharp colours"\n')
    mine = read_prompts("mine", file)
    assert (mine.ms, mine.pan, mine.hrms) == ("blurred colours", "a panchromatic image", "sharp colours")
    with pytest.raises(UsageError, match="unknown prompt 'yours'") as caught:
        read_prompts("yours", file)
    assert "mine" in caught.value.hint
    for text in ("ms = 3", "ms = ", '[hrms]\na = ""'):
        file.write_text(text)
        with pytest.raises(UsageError, match="cannot use the prompts"):
            read_prompts("wald", file)
    with pytest.raises(UsageError, match="cannot use the prompts"):
        read_prompts("wald", tmp_path / "nowhere.toml")
