from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from synthkd.errors import Rejected
from synthkd.graphs.mention import LONGEST_TYPE, Mention, read_mentions, type_name
from synthkd.recipes.ner import NerSettings

Ask = Callable[..., Any]
ROW = {"text": "Ada was born in London."}
ADA, LONDON = Mention("Ada", "person"), Mention("London", "city")
BOTH = '[["Ada", "person"], ["London", "city"]]'


@pytest.mark.parametrize(
    ("reply", "way", "mentions"),
    [
        (BOTH, "json", [ADA, LONDON]),
        (f"Here [as asked]:\n```json\n{BOTH}\n```", "json", [ADA, LONDON]),
        ("\ufeff" + BOTH[:-1], "json", [ADA, LONDON]),
        ('{"entities": [{"mention": "Ada", "type": "person"}]}', "json", [ADA]),
        ('{"entity": "Ada", "label": "person"}\n{"text": "London", "TYPE": "city"}', "json", None),
        ('{"person": ["Ada"], "city": ["London"], "river": []}', "json", [ADA, LONDON]),
        ('[{"type": "person", "mentions": ["Ada"]}, ["London", "city"]]', "json", [ADA, LONDON]),
        ("[('Ada', 'person'), (\"London\", 'city')]", "pairs", [ADA, LONDON]),
        ("[('O'Brien', 'person')]", "pairs", [Mention("O'Brien", "person")]),
        ("- Ada | person\n2. London\tcity\nno more", "bars", [ADA, LONDON]),
        ('[["f(x) [new]", "song, or so"]]', "json", [Mention("f(x) [new]", "song, or so")]),
        ('[["Ada", "person", "a human"]]', "json", [Mention("Ada", "person", "a human")]),
        ("```json\n[]\n```", "json", []),
        ('{"person": [], "city": []}', "json", []),
        ("Nobody in particular.", "none", []),
    ],
)
def test_ways_of_writing(reply: str, way: str, mentions: list[Mention] | None) -> None:
    spotted = read_mentions(reply)
    assert spotted.way == way
    assert spotted.mentions == ([ADA, LONDON] if mentions is None else mentions)


def test_what_cannot_be_used_is_told() -> None:
    long = "x" * 2_000
    pairs = [["Ada", " "], [long, "person"], ["b", "t" * (LONGEST_TYPE + 1)], 3, ["Ada", "person"]]
    spotted = read_mentions(orjson.dumps(pairs).decode() + ', ["Lon')
    assert spotted.mentions == [ADA]
    reasons = [reason for reason, _ in spotted.faults]
    assert reasons == ["empty_part", "too_long", "too_long", "no_mention", "cut"]
    assert max(len(detail) for _, detail in spotted.faults) <= 200


@pytest.mark.parametrize("piece", ["('a ", '("a ', "[", "a | ", '{"a": ', "('a', 'b', "])
def test_a_reply_that_goes_on_for_ever_takes_no_hour(piece: str) -> None:
    start = time.process_time()
    assert read_mentions(piece * 5_000).way == "none"
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("said", "name", "one"),
    [
        ("ProgrammingLanguage", "programming language", "programming language"),
        ("creative-work ", "creative work", "creative work"),
        ("Capital_Cities", "capital cities", "capital city"),
        ("People", "people", "person"),
        ("BUSES", "buses", "buse"),  # crude, and said so
        ("Species", "species", "species"),
        ("churches", "churches", "church"),
        ("ＣＩＴＹ", "city", "city"),
    ],
)
def test_types_have_one_spelling(said: str, name: str, one: str) -> None:
    assert type_name(said) == name
    assert type_name(said, singular=True) == one


async def test_who_said_it_and_in_which_share_of_replies(ask: Ask) -> None:
    replies = {"a": [BOTH, '[["Ada", "People"]]'], "b": ['{"Person": ["Ada", "Ada"]}', "[]"]}
    asked = await ask("ner", {"teachers": ["a", "b"], "samples": 2}, ROW, replies)
    ada, london = asked.fields["mentions"]
    assert ada == {"text": "Ada", "type": "person", "teachers": ["a", "b"], "support": 0.75}
    assert (london["type"], london["teachers"], london["support"]) == ("city", ["a"], 0.25)


async def test_given_types_keep_their_spelling_and_others_go(ask: Ask) -> None:
    settings = {"teachers": ["a"], "prompt": "ner/types", "types": ["PER", "Works of Art"]}
    reply = '[["Ada", "per"], ["Notes", "works_of_art"], ["London", "LOC"]]'
    asked = await ask("ner", settings, ROW, {"a": [reply]})
    assert [one["type"] for one in asked.fields["mentions"]] == ["PER", "Works of Art"]
    assert [reason for reason, _ in asked.kit.discards] == ["other_type"]
    system = asked.teachers["a"].asked[0].body["messages"][0]["content"]
    assert "one of these types: PER, Works of Art." in system


async def test_definitions_stay_with_their_mentions(ask: Ask) -> None:
    settings = {"teachers": ["a"], "prompt": "ner/define"}
    asked = await ask("ner", settings, ROW, {"a": ['[["Ada", "person", "a human being"]]']})
    assert asked.fields["mentions"][0]["definition"] == "a human being"


async def test_a_text_that_speaks_of_nothing(ask: Ask) -> None:
    asked = await ask("ner", {"teachers": ["a"]}, ROW, {"a": ["[]"]})
    assert asked.fields["mentions"] == []
    with pytest.raises(Rejected, match="no_mentions"):
        await ask("ner", {"teachers": ["a"], "keep_empty": False}, ROW, {"a": ["[]"]})
    with pytest.raises(Rejected, match="no_list"):
        await ask("ner", {"teachers": ["a"]}, ROW, {"a": ["I see nobody."]})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"prompt": "ner/types"}, "ner/types needs `types`"),
        ({"types": ["city"]}, "ner/open asks for any; name `prompt: ner/types`"),
        ({"prompt": "ner/types", "types": ["A_b", "a b"]}, "'A_b' and 'a b' are the same type"),
        ({"prompt": "ner/types", "types": ["-"]}, "types: '-' is empty"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        NerSettings.model_validate({"teachers": ["a"], **settings})
