from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synthkd.errors import FILTERED, MissingField, Rejected, RequestRefused, Unanswered
from synthkd.teachers.request import Completion, Shaped, ToolCall, Usage

ROW = {"instruction": "Say hello."}


def said(text: str, **more: Any) -> Completion:
    return Completion(text=text, finish="stop", usage=Usage(), reply=b"")._replace(**more)


async def test_each_sample_becomes_a_row_made_by_its_own_answer(ask: Callable[..., Any]) -> None:
    done = await ask("generate", {"samples": 2}, ROW, ["Hello.", said("Hi.", reasoning="Hm.")])
    assert [row.fields for row in done.rows] == [
        ROW | {"response": "Hello.", "reasoning": None, "finish": "stop"},
        ROW | {"response": "Hi.", "reasoning": "Hm.", "finish": "stop"},
    ]
    assert [row.made_by for row in done.rows] == [("main-0",), ("main-1",)]


async def test_the_teacher_is_sent_the_instruction_as_it_stands(ask: Callable[..., Any]) -> None:
    done = await ask("generate", {"into": "said"}, {"instruction": "{{ 1 }}\n*?"}, ["Yes."])
    (request,) = done.teachers["main"].asked
    assert request.body["messages"] == [{"role": "user", "content": "{{ 1 }}\n*?"}]
    assert done.fields["said"] == "Yes."


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (said("", refusal="I cannot."), "refused"),
        (said("Part", finish="content_filter"), "content_filter"),
        (RequestRefused(400, FILTERED + "violence"), "content_filter"),
        (said("Part", finish="repetition"), "repetition"),
        (said("See:", other_parts=("image_url",)), "not_text"),
        (said("", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)), "called_tools"),
        (said("", finish="tool_calls"), "empty_answer"),
        (said("{}", shaped=Shaped(value={}, faults=("n: Field required",))), "bad_json"),
        (" \n", "empty_answer"),
    ],
)
async def test_replies_that_are_no_answer(ask: Callable[..., Any], reply: Any, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await ask("generate", {}, ROW, [reply])
    assert caught.value.reason == reason


async def test_a_thought_that_goes_round_in_circles_is_quoted(ask: Callable[..., Any]) -> None:
    with pytest.raises(Rejected, match=r"circles: .*wait, no, wait, no, $"):
        await ask(
            "generate", {}, ROW, [said("", finish="repetition", reasoning="wait, no, " * 500)]
        )


async def test_an_apology_in_an_answer_is_no_refusal(ask: Callable[..., Any]) -> None:
    done = await ask("generate", {}, ROW, ["I'm sorry, I cannot say it better than: hello."])
    assert len(done.rows) == 1


async def test_a_lost_sample_is_a_discard_while_others_live(ask: Callable[..., Any]) -> None:
    done = await ask("generate", {"samples": 3}, ROW, [Unanswered("503"), "", "Hello."])
    assert [row.made_by for row in done.rows] == [("main-2",)]
    assert done.kit.discards == [
        ("unanswered", "Unanswered: 503"),
        ("empty_answer", "finish: stop"),
    ]


async def test_a_row_that_nobody_answered_fails(ask: Callable[..., Any]) -> None:
    with pytest.raises(Unanswered, match="first"):
        await ask("generate", {"samples": 2}, ROW, [Unanswered("first"), Unanswered("second")])


async def test_a_row_that_somebody_answered_badly_is_rejected(ask: Callable[..., Any]) -> None:
    with pytest.raises(Rejected, match=r"empty_answer: finish: stop \(of 2 samples\)"):
        await ask("generate", {"samples": 2}, ROW, [Unanswered("503"), ""])


async def test_a_row_without_the_prompts_input_fails(ask: Callable[..., Any]) -> None:
    with pytest.raises(MissingField, match="instruction"):
        await ask("generate", {}, {"question": "?"}, ["Hello."])


async def test_an_answer_in_json_becomes_its_value(ask: Callable[..., Any]) -> None:
    mended = said('{"n": 1}', shaped=Shaped(value={"n": 1}, mends="first"))
    done = await ask("generate", {}, ROW, [mended])
    assert done.fields["response"] == {"n": 1}
    assert [row.made_by for row in done.rows] == [("first", "main-0")]
