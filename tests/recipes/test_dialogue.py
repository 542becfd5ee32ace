"""dialogue: who speaks, what the user is told, proactive questions, and what spoils a turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import Rejected, Unanswered
from synthkd.recipes.dialogue import DialogueSettings
from synthkd.recipes.talk import turn_fault
from synthkd.teachers.request import Completion, Request
from tests.recipes.conftest import Scripted, run_step, said

SETTINGS: Any = {"user": "u", "assistant": "a"}
ROW: Any = {"instruction": "Find out why the tap drips.", "profile": "a tenant"}


@dataclass
class InTurn(Scripted):
    """Replies one after another, whatever is asked."""

    left: list[Any] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.replies[len(self.asked) - 1]
        if isinstance(reply, Exception):
            raise reply
        completion = said(reply) if isinstance(reply, str) else reply
        assert isinstance(completion, Completion)
        return completion._replace(key=f"{self.name}-{len(self.asked)}")


@pytest.fixture(autouse=True)
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.recipes.conftest.Scripted", InTurn)


async def talk(
    user: Sequence[Any], assistant: Sequence[Any], row: Any = ROW, **settings: Any
) -> Any:
    return await run_step("dialogue", {**SETTINGS, **settings}, row, {"u": user, "a": assistant})


def turns(done: Any) -> list[str]:
    messages = done.fields["messages"]
    return [f"{one['role'][0]}:{one['content']}" for one in messages]


async def test_they_talk_until_the_user_is_done(ask: Callable[..., Any]) -> None:
    done = await talk(
        ["User: My tap drips.", "Since Monday.", "[DONE] Thanks!"],
        ["Since when?", "Change the washer."],
        turns=5,
        system=["Be brief."],
    )
    assert turns(done) == [
        *("s:Be brief.", "u:My tap drips.", "a:Since when?"),
        *("u:Since Monday.", "a:Change the washer."),
    ]
    assert (done.fields["ended"], done.fields["asked_back"]) == ("stop", [])
    assert done.kit.keys == ["u-1", "a-1", "u-2", "a-2", "u-3"]
    asked = [request.body["messages"] for request in done.teachers["a"].asked]
    assert [one["content"] for one in asked[1]] == [
        *("Be brief.", "My tap drips.", "Since when?", "Since Monday."),
    ]
    shown = done.teachers["u"].asked[1].body["messages"]
    assert "a tenant" in shown[0]["content"]
    assert "why the tap drips" in shown[0]["content"]
    assert "<assistant-" in shown[1]["content"]


async def test_it_ends_after_so_many_turns_and_may_begin_with_a_field() -> None:
    row = {**ROW, "first": " My tap drips. "}
    done = await talk(["Now?"], ["Hm.", "So."], row=row, turns=2, opening="first")
    assert turns(done) == ["u:My tap drips.", "a:Hm.", "u:Now?", "a:So."]
    assert done.fields["ended"] == "turns"
    with pytest.raises(Rejected, match="empty_turn"):
        await talk([], [], row={**ROW, "first": ""}, opening="first")
    drawn = await talk(["a"], ["b"], {"instruction": "x"}, turns=1, profiles=["a nurse"])
    assert drawn.fields["profile"] == "a nurse"
    whole = await talk(["a"], ["b"], {"instruction": "x", "profile": {"age": 7}}, turns=1)
    assert '{"age":7}' in whole.teachers["u"].asked[0].body["messages"][0]["content"]


async def test_the_assistant_must_ask_before_it_advises() -> None:
    done = await talk(
        ["It drips.", "A mixer."], ["Which tap？", "The cartridge."], ask_back=0.5, turns=2
    )
    assert done.fields["asked_back"] == [0]
    asked = [one.body["messages"][0]["content"] for one in done.teachers["a"].asked]
    assert ["No advice in this turn" in one for one in asked] == [True, False]
    with pytest.raises(Rejected, match="asked_nothing"):
        await talk(["It drips."], ["Change it."], ask_back=0.5, turns=2)
    with pytest.raises(Rejected, match="no_advice"):
        await talk(["It drips.", "[DONE]"], ["Which?"], ask_back=0.5, turns=2)
    with pytest.raises(ValidationError, match="turns of 2 or more"):
        DialogueSettings(**SETTINGS, ask_back=0.1, turns=1)


@given(st.integers(2, 9), st.floats(0, 1))
def test_the_share_of_questions_is_kept_over_many_rows(n: int, share: float) -> None:
    from random import Random
    from types import SimpleNamespace

    from synthkd.recipes.dialogue import _asking

    config = DialogueSettings(user="u", assistant="a", turns=n, ask_back=share)
    drawn = [_asking(SimpleNamespace(rng=Random(i)), config) for i in range(40)]  # type: ignore[arg-type]
    assert all(0 <= one < n for one in drawn)
    assert max(drawn) - min(drawn) <= 1
    assert all(abs(one - min(share * n, n - 1)) < 1 for one in drawn)


FAULTS = [
    (["Assistant: Change it."], [], "plays_both"),
    (["My tap drips.\nAssistant: Change it."], [], "plays_both"),
    (["As an AI language model, I have no tap."], [], "role_confusion"),
    (["How can I help you today?"], [], "user_as_assistant"),
    (["It drips.", "it  drips."], ["Hm."], "repeated_turn"),
    (["It drips.", "Still."], ["Hm.", "hm."], "repeated_turn"),
    (["It drips."], ["Hm.\nUser: And now?"], "plays_both"),
    (["It drips."], ["Hm.\nUser\uff1aAnd now?"], "plays_both"),
    (["It drips."], ["Hm.\n### User: And now?"], "plays_both"),
    (["It drips."], ["Hm.<|im_end|>\n<|im_start|>user\nAnd now?"], "template_leak"),
    (["[Done]"], [], "no_talk"),
    ([" "], [], "empty_turn"),
    (["User:"], [], "empty_turn"),
    ([said("It dr", finish="length")], [], "truncated"),
    (["It drips."], [said("", refusal="no")], "refused"),
    (["[DONE]"], [], "no_talk"),
]


@pytest.mark.parametrize(("user", "assistant", "reason"), FAULTS)
async def test_what_spoils_a_conversation(user: Any, assistant: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=f"^{reason}"):
        await talk(user, assistant)


async def test_a_user_who_goes_on_and_on_is_refused() -> None:
    with pytest.raises(Rejected, match="long_turn: 9 characters"):
        await talk(["It drips."], ["Hm."], longest=8, turns=1)
    assert (await talk(["It drips."], ["Hm."], longest=9, turns=1)).rows


async def test_what_was_said_before_may_be_kept() -> None:
    done = await talk(["It drips.", "As an AI, I am fine."], ["Change it."], least=1)
    assert (turns(done), done.fields["ended"]) == (
        ["u:It drips.", "a:Change it."],
        "role_confusion",
    )
    assert [reason for reason, _ in done.kit.discards] == ["role_confusion"]
    with pytest.raises(Rejected, match="role_confusion"):
        await talk(["It drips.", "As an AI, I am fine."], ["Change it."], least=2)
    with pytest.raises(Unanswered):
        await talk(["It drips.", Unanswered("down")], ["Change it."], least=1)
    with pytest.raises(Rejected, match="no_goal"):
        await talk([], [], row={"instruction": None})


def test_plain_words_of_users_are_no_fault() -> None:
    for words in [
        "Is this AI going to help me?", "My agent: a fool.", "I need an AI for my shop.",
        "Can the assistant help?", "Sure, I tried that.", "Of course not. What else?",
    ]:  # fmt: skip
        assert turn_fault(words, "user", []) is None, words
