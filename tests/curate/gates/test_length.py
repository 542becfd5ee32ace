from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.gates.length import LengthConfig, tokens_of
from synthkd.errors import Rejected, RowError, UserError
from tests.curate.gates.passing import passes, reason_of


@pytest.mark.parametrize(
    ("limits", "reason", "detail"),
    [
        ({"min_chars": 12}, "too_short", "text has 11 chars, min_chars is 12"),
        ({"max_chars": 10}, "too_long", "text has 11 chars, max_chars is 10"),
        ({"min_words": 3}, "too_short", "text has 2 words, min_words is 3"),
        ({"max_words": 1}, "too_long", "text has 2 words, max_words is 1"),
    ],
)
async def test_length_says_value_and_threshold(
    limits: dict[str, int], reason: str, detail: str
) -> None:
    with pytest.raises(Rejected) as caught:
        await passes("gate.length", {"field": "text", **limits}, text=" hello world\n")
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


async def test_length_at_the_limits_passes() -> None:
    limits = {"min_chars": 11, "max_chars": 11, "min_words": 2, "max_words": 2}
    assert await passes("gate.length", {"field": "text", **limits}, text="hello world")


@pytest.mark.parametrize("limits", [{}, {"min_chars": 3, "max_chars": 2}])
def test_length_limits_that_make_no_sense(limits: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="min_chars"):
        LengthConfig.model_validate({"field": "text", **limits})


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A tokenizer file with a token for each word, which would also cut texts at two tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    made = Tokenizer(WordLevel({"[UNK]": 0, "one": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = WhitespaceSplit()
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path / "tokenizer.json")


async def test_tokens_are_those_of_the_tokenizer_file(words: str) -> None:
    limits = {"tokenizer": words, "max_tokens": 3}
    assert await reason_of("gate.length", limits, "one unknown one") is None
    told = await reason_of("gate.length", limits, "one one one one")
    assert told == "too_long: text has 4 tokens, max_tokens is 3"


async def test_without_a_file_tokens_are_a_quarter_of_the_bytes() -> None:
    assert [tokens_of(text, None) for text in ("", "a", "abcd", "abcde", "日本語")] == [
        0,
        1,
        1,
        2,
        3,
    ]
    assert await reason_of("gate.length", {"min_tokens": 2}, "abcd") == (
        "too_short: text has 1 tokens, min_tokens is 2"
    )


def test_a_lone_surrogate_counts_as_a_character() -> None:
    assert tokens_of("a\ud800b", None) == 1


def test_a_text_that_the_tokenizer_has_no_token_for_fails_its_row(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}
    path.write_text(json.dumps({"version": "1.0", "model": model}))
    assert tokens_of("a", path) == 1
    with pytest.raises(RowError, match=r"t\.json cannot read this text: .*UNK"):
        tokens_of("b", path)


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.json is no tokenizer\.json"):
        tokens_of("a", tmp_path / "t.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "t.json", "max_chars": 3}, "is for min_tokens and max_tokens"),
        ({"min_tokens": 3, "max_tokens": 2}, "min_tokens 3 must not be above max_tokens 2"),
    ],
)
def test_token_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LengthConfig.model_validate({"field": "text", **settings})


def test_a_tokenizer_file_is_looked_for_beside_the_pipeline(words: str, tmp_path: Path) -> None:
    settings = {"field": "text", "max_tokens": 3, "tokenizer": "tokenizer.json"}
    config = LengthConfig.model_validate(settings)
    (tmp_path / "beside").mkdir()
    Path(words).rename(tmp_path / "beside" / "tokenizer.json")
    assert list(config.faults(tmp_path / "beside")) == []
    (fault,) = config.faults(tmp_path / "elsewhere")
    assert fault.startswith("tokenizer: tokenizer.json: no such file")
