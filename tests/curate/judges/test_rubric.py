from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.errors import MissingField, Rejected, RowError, Unanswered
from synthkd.fence import fenced
from synthkd.steps import find_step, names_of
from tests.curate.judges.asking import always, judged, said, scored

ROW = {"instruction": "Name the capital of France.", "response": "Paris.", "system": "gpt-x"}
TWO = {
    "scale": [0, 4],
    "criteria": [{"name": "truth", "asks": "?"}, {"name": "style", "asks": "?"}],
}
SETTINGS = {"rubric": TWO}


async def test_scores_are_averaged_over_the_samples_and_everything_said_is_kept() -> None:
    replies = [scored("Right.", truth=4, style=2), scored("Right, dull.", truth=4, style=1)]
    done = await judged("judge.rubric", SETTINGS | {"samples": 2}, ROW, always(*replies))
    assert done.verdict == {
        "score": 0.6875,
        "scores": {"truth": 4.0, "style": 1.5},
        "rubric": "",
        "answers": [
            {
                "teacher": "main",
                "sample": sample,
                "text": replies[sample],
                "key": f"main-{sample + 1}",
                "reasoning": reasoning,
                "scores": {"truth": 4, "style": style},
                "score": score,
                "fault": None,
            }
            for sample, reasoning, style, score in (
                (0, "Right.", 2, 0.75),
                (1, "Right, dull.", 1, 0.625),
            )
        ],
    }
    assert done.figures == {"verdicts": 1, "score from 0.6": 1}


async def test_the_judge_sees_task_answer_and_criteria_and_no_name() -> None:
    done = await judged("judge.rubric", SETTINGS, ROW, always(scored(truth=4, style=4)))
    (asked,) = done.asked
    shown = str(asked.body["messages"])
    assert "Paris." in shown
    assert "capital of France" in shown
    assert "truth (0 to 4)" in shown
    assert "gpt-x" not in shown
    assert shown.index("reasoning") < shown.index("scores")
    form: Any = asked.body["response_format"]
    scores = form["json_schema"]["schema"]["properties"]["scores"]
    assert scores["properties"]["truth"]["enum"] == [0, 1, 2, 3, 4]
    assert form["json_schema"]["strict"] is True


async def test_without_structure_no_schema_goes_out() -> None:
    settings = SETTINGS | {"structured": False}
    done = await judged("judge.rubric", settings, ROW, always(scored(truth=4, style=4)))
    assert "response_format" not in done.asked[0].body


async def test_a_sample_that_cannot_be_read_has_a_fault_and_no_score() -> None:
    replies: list[Any] = [
        "Well, well.",
        scored(truth=4, style=4),
        scored(truth=9, style=0),
        Unanswered("503"),
    ]
    settings = SETTINGS | {"samples": 4, "structured": False}
    done = await judged("judge.rubric", settings, ROW, always(*replies))
    assert done.verdict["score"] == 1.0
    assert [answer["fault"] for answer in done.verdict["answers"]] == [
        "no_verdict",
        None,
        "off_scale",
        "unanswered",
    ]
    assert done.verdict["answers"][0]["text"] == "Well, well."
    assert [reason for reason, _ in done.kit.discards] == ["no_verdict", "off_scale", "unanswered"]


async def test_a_reply_off_the_schema_gets_one_repair_and_is_read_all_the_same() -> None:
    faulty = scored(truth="4", style=2)  # a number as text: no fit, but plain enough
    done = await judged("judge.rubric", SETTINGS, ROW, always(faulty))
    assert len(done.asked) == 2
    assert done.verdict["scores"] == {"truth": 4.0, "style": 2.0}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I like it.", "no_verdict"),
        (scored(truth=7, style=1), "off_scale"),
        (said("", refusal="No."), "refused"),
        ("", "empty_answer"),
    ],
)
async def test_a_verdict_that_cannot_be_read_fails_closed(reply: Any, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await judged("judge.rubric", SETTINGS, ROW, always(reply))
    assert caught.value.reason == reason


async def test_a_judge_that_nobody_reaches_fails_the_row() -> None:
    with pytest.raises(Unanswered):
        await judged("judge.rubric", SETTINGS, ROW, always(Unanswered("503")))


@pytest.mark.parametrize("at_least", [0.5, 0.75])
async def test_a_low_score_is_rejected_with_score_and_threshold(at_least: float) -> None:
    settings = SETTINGS | {"keep_at_least": at_least}
    voice = always(scored(truth=2, style=2))
    if at_least == 0.5:
        assert (await judged("judge.rubric", settings, ROW, voice)).verdict["score"] == 0.5
        return
    with pytest.raises(Rejected, match=r"low_score: score 0\.5, keep_at_least is 0\.75"):
        await judged("judge.rubric", settings, ROW, voice)


async def test_a_row_may_bring_its_own_checklist() -> None:
    row = ROW | {"checks": ["Names Paris.", "Says since when."]}
    voice = always(scored(item_1=1, item_2=0))
    done = await judged("judge.rubric", {"checklist": "checks"}, row, voice)
    assert done.verdict["score"] == 0.5
    assert "Says since when." in str(done.asked[0].body["messages"])
    with pytest.raises(MissingField, match="'checks' must hold a list of what to check"):
        await judged("judge.rubric", {"checklist": "checks"}, ROW, voice)


async def test_several_fields_are_judged_together() -> None:
    row = {"question": "2 + 2?", "rationale": "Two and two.", "answer": "4"}
    settings = SETTINGS | {"fields": ["rationale", "answer"], "question": "question"}
    done = await judged("judge.rubric", settings, row, always(scored(truth=4, style=4)))
    shown = f"{fenced('Two and two.', 'rationale')}\n\n{fenced('4', 'answer')}"
    assert done.asked[0].inputs["candidate"] == shown


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (ROW | {"response": " "}, Rejected, "nothing_to_judge"),
        (ROW | {"response": None}, RowError, "response is null"),
        ({"instruction": "x"}, MissingField, "no field 'response'"),
    ],
)
async def test_rows_without_anything_to_judge(
    row: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await judged("judge.rubric", SETTINGS, row, always("never asked"))


def test_a_judge_that_always_says_the_same_is_warned_of() -> None:
    warns = find_step("judge.rubric").warns
    assert warns is not None
    (warning,) = warns({"verdicts": 1000, "score from 0.7": 1000})
    assert warning.startswith("all 1,000 scores are in the tenth from 0.7")
    assert [*warns({"verdicts": 1000, "score from 0.7": 999, "score from 0.1": 1})] == []
    assert [*warns({"verdicts": 3, "score from 0.7": 3})] == []
    assert [*warns({})] == []


def test_needs_and_gives_what_its_settings_name() -> None:
    step = find_step("judge.rubric")
    settings = {"teacher": "a", "fields": ["x", "y"], "question": "q", "checklist": "c"}
    config = step.config.model_validate(settings | {"into": "v"})
    assert names_of(step.needs, config) == ("q", "x", "y", "c")
    assert names_of(step.gives, config) == ("v",)
    assert config.rubric.name == "judges/helpsteer2"
    assert step.config.model_validate({"teacher": "a"}).all_fields == ("response",)
    with pytest.raises(ValidationError, match="exactly one of field, fields"):
        step.config.model_validate(settings | {"field": "x"})
