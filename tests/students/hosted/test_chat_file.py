"""The training file: every fault is found, with its line, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import HostedConfig, HostedLimits
from synthkd.errors import NothingToLearn
from synthkd.fake_teacher.fine_tuning import problem_of
from synthkd.rows import Row, source_row
from synthkd.students.hosted.chat_file import ChatFile, check_chat_file, write_chat_file
from synthkd.students.hosted.student import epochs_of, in_words

BLOCK = {"kind": "hosted", "base": "m", "endpoint": "http://127.0.0.1:1/v1"}
PAIR = HostedConfig.model_validate({**BLOCK, "prompt": "text", "completion": "label"})
TALK = HostedConfig.model_validate({**BLOCK, "messages": "talk"})
USER = {"role": "user", "content": "hello"}
SAID = {"role": "assistant", "content": "good day"}


def rows(*fields: dict[str, Any]) -> list[Row]:
    return [source_row("s", [n], ordinal=n, fields=each) for n, each in enumerate(fields)]


def lines(path: Path, *examples: Any) -> Path:
    good = [{"messages": [USER, SAID]}] * 10
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in examples]
    path.write_bytes(b"\n".join([*(json.dumps(each).encode() for each in good), *raw]) + b"\n")
    return path


def faults(path: Path, limits: HostedLimits | None = None) -> list[str]:
    with pytest.raises(NothingToLearn) as caught:
        check_chat_file(path, limits or HostedLimits())
    assert "nothing was sent" in str(caught.value)
    return (path.parent / "faults.txt").read_text(encoding="utf-8").splitlines()


def test_rows_become_conversations_that_the_provider_takes(tmp_path: Path) -> None:
    ten = rows(*({"text": f"say {n}", "label": "yes", "rule": "Be brief."} for n in range(10)))
    config = PAIR.model_copy(update={"system": "rule"})
    file = write_chat_file(ten, config, tmp_path / "t.jsonl")
    content = file.path.read_bytes()
    assert json.loads(content.splitlines()[3]) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "say 3"},
            {"role": "assistant", "content": "yes"},
        ]
    }
    assert problem_of(content) is None
    assert (file.examples, file.system, file.maybe_long) == (10, "Be brief.", 0)
    assert len(content) / 4 < file.tokens < file.most_tokens
    assert file.most_tokens == len(content) + 10 * 3 * 16
    plain = write_chat_file(ten, PAIR, tmp_path / "u.jsonl")
    assert plain.system is None
    assert plain.sha256 != file.sha256


def test_what_a_table_adds_to_messages_is_not_sent(tmp_path: Path) -> None:
    talk = [{**USER, "weight": None, "name": None}, {**SAID, "weight": 1, "name": None}]
    file = write_chat_file(rows(*[{"talk": talk}] * 10), TALK, tmp_path / "t.jsonl")
    first = json.loads(file.path.read_bytes().splitlines()[0])
    assert first == {"messages": [USER, {**SAID, "weight": 1}]}


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (b"{", "not JSON in UTF-8"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "not JSON in UTF-8"),
        (b'{"messages": [], "messages": []}', "the key 'messages' stands twice"),
        (b'{"messages": [{"role": "user", "role": "user"}]}', "the key 'role' stands twice"),
        (b"[]", "it is no JSON object"),
        (b"", "not JSON in UTF-8"),
        ({"prompt": "x"}, "unknown key 'prompt'"),
        ({"messages": []}, "no `messages`"),
        ({"messages": ["x"]}, "message 1: it is no JSON object"),
        ({"messages": [{"role": "bot", "content": "x"}, SAID]}, "message 1: role 'bot' is none of"),
        ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "message 2: no content"),
        ({"messages": [USER, {"role": "assistant"}]}, "message 2: no content, got None"),
        ({"messages": [USER, {"role": "assistant", "content": 5}]}, "message 2: no content, got 5"),
        ({"messages": [USER, {**SAID, "mood": 1}]}, "message 2: unknown key 'mood'"),
        ({"messages": [{**USER, "weight": 1}, SAID]}, "only the assistant's messages have"),
        ({"messages": [USER, {**SAID, "weight": 0.5}]}, "a weight is 0 or 1, got 0.5"),
        ({"messages": [USER, {**SAID, "weight": True}]}, "a weight is 0 or 1, got True"),
        ({"messages": [USER, {**SAID, "weight": 0}]}, "there is nothing to learn"),
        ({"messages": [SAID, USER]}, "the last message is from user"),
        ({"messages": [USER, {**SAID, "content": "x" * 300_000}]}, "tokens, and the provider"),
    ],
)
def test_each_rule(tmp_path: Path, example: Any, said: str) -> None:
    found = faults(lines(tmp_path / "t.jsonl", example, {"messages": [USER, SAID]}))
    assert len(found) == 1 or example == {"prompt": "x"}
    assert found[0].startswith("line 11: ")
    assert said in " ".join(found)


def test_all_faults_are_told_and_the_message_stays_short(tmp_path: Path) -> None:
    bad = [{"messages": [USER]}, {"messages": [SAID, USER]}, b"["] * 10
    path = lines(tmp_path / "t.jsonl", *bad)
    found = faults(path, HostedLimits(min_examples=50, max_file_mb=0.001))
    assert [line.partition(":")[0] for line in found[:30]] == [f"line {n}" for n in range(11, 41)]
    assert "no fewer than 50" in found[30]
    assert "no more than 0.001" in found[31]
    with pytest.raises(NothingToLearn, match="and 12 more, all in") as caught:
        check_chat_file(path, HostedLimits(min_examples=50, max_file_mb=0.001))
    assert len(str(caught.value).splitlines()) == 23


def test_rows_without_values_are_told_by_their_line(tmp_path: Path) -> None:
    twelve = [{"text": f"say {n}", "label": "yes"} for n in range(12)]
    twelve[4]["label"] = ""
    with pytest.raises(NothingToLearn, match="line 5: message 2: no content, got ''"):
        write_chat_file(rows(*twelve), PAIR, tmp_path / "t.jsonl")
    with pytest.raises(NothingToLearn, match="line 1: no `messages`"):
        write_chat_file(rows({"talk": "hello"}), TALK, tmp_path / "t.jsonl")
    with pytest.raises(NothingToLearn, match="0 examples"):
        write_chat_file([], TALK, tmp_path / "t.jsonl")


def test_what_may_be_too_long_is_counted_not_refused(tmp_path: Path) -> None:
    long = {"messages": [USER, {**SAID, "content": "x" * 1000}]}
    file = check_chat_file(lines(tmp_path / "t.jsonl", long), HostedLimits(max_example_tokens=500))
    assert file.maybe_long == 1


@pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (4, 25), (100, 3), (20_000, 1)])
def test_how_many_epochs_the_provider_is_likely_to_choose(examples: int, epochs: int) -> None:
    file = chat_file(examples)
    assert epochs_of(file, PAIR) == epochs
    assert epochs_of(file, PAIR.model_copy(update={"epochs": 7})) == 7


def test_what_is_unknown_is_said_and_not_nothing() -> None:
    assert "cost unknown (student.usd_per_million_tokens)" in in_words(chat_file(10), PAIR)
    priced = PAIR.model_copy(update={"usd_per_million_tokens": 25.0, "epochs": 2})
    # 1,000 tokens twice at 25 dollars a million; the bound is four times as high.
    assert "about 0.0500 USD, at most 0.2000" in in_words(chat_file(10), priced)


def chat_file(examples: int) -> ChatFile:
    return ChatFile(
        path=Path("t"),
        sha256="0",
        examples=examples,
        most_tokens=4000,
        tokens=1000,
        maybe_long=0,
        system=None,
    )
