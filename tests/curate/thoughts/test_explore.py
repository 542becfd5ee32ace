"""thoughts: which replies count, when it asks on, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.thoughts.explore import ExploreSettings
from synthkd.curate.thoughts.verdicts import ThoughtSettings, is_good, judged
from synthkd.errors import MissingField, Rejected, Unanswered
from synthkd.pipeline import Pipeline
from synthkd.recipes.pool import Candidate
from synthkd.rows import source_row
from synthkd.steps import find_step
from tests.recipes.conftest import said
from tests.runs import tree_bytes

Ask = Callable[..., Any]
ROW = {"question": "Two and two?", "gold": "4.0"}
NUMBER: Mapping[str, Any] = {"gold": "gold", "answer": {"type": "number"}}


def reply(answer: str, thought: str = "Two, and then two more.") -> str:
    return f"<think>{thought}</think>\nTwo more than two. So the answer is {answer}."


async def test_it_asks_on_only_where_nothing_is_right(ask: Ask) -> None:
    settings = {**NUMBER, "tries": [2, 1, 3]}
    replies = [reply("5"), reply("3"), reply("4"), *[reply("4")] * 3]
    done = await ask("thoughts", settings, ROW, replies)
    assert [request.sample for request in done.teachers["main"].asked] == [0, 1, 2]
    assert {name: done.fields[name] for name in ("answer", "tries", "difficulty", "finish")} == {
        "answer": "4",
        "tries": 3,
        "difficulty": "medium",
        "finish": "stop",
    }
    assert done.fields["solved_share"] == pytest.approx(1 / 3)
    assert done.fields["thought"] == "Two, and then two more."
    assert done.fields["solution"] == "Two more than two. So the answer is 4."
    assert done.fields["chosen"] == {"teacher": "main", "sample": 2, "key": "main-2"}
    assert [one["right"] for one in done.fields["candidates"]] == [False, False, True]
    assert done.kit.discards == [("wrong_answer", "answered 5"), ("wrong_answer", "answered 3")]
    assert dict(done.kit.counts) == {
        **{"round 1: rows": 1, "round 1: calls": 2, "round 2: rows": 1, "round 2: calls": 1},
        "round 2: solved": 1,
    }


async def test_the_bound_is_kept_and_said(ask: Ask) -> None:
    with pytest.raises(Rejected) as caught:
        await ask(
            "thoughts", {**NUMBER, "tries": [1, 2]}, ROW, [reply("5"), reply("6"), reply("5")]
        )
    assert str(caught.value) == "unsolved: none of 3 tries is good; they answer 5, 6"


async def test_the_thought_of_the_provider_is_taken(ask: Ask) -> None:
    apart = said("So the answer is 4.", reasoning="Hm. Two and two.")
    done = await ask(
        "thoughts", {**NUMBER, "prompt": "thoughts/answer", "tries": [1]}, ROW, [apart]
    )
    assert done.fields["thought"] == "Hm. Two and two."
    assert done.fields["candidates"][0]["text"] == "So the answer is 4."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("So the answer is 4.", "no_thought"),
        ("<think>Two.", "no_solution"),
        ("<think>a</think><think>b</think> So the answer is 4.", "several_thoughts"),
        ("<think>Two.</think> It is four.", "no_cue"),
        ("<think>Two.</think> So the answer is 4. So the answer is 5.", "several_cues"),
        ("", "empty_answer"),
    ],
)
async def test_why_a_row_without_an_answer_is_rejected(ask: Ask, text: str, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await ask("thoughts", {**NUMBER, "tries": [1]}, ROW, [text])
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("settings", "thought", "status"),
    [
        ({"thought": {"min_words": 9}}, "Two.", "too_short"),
        ({"thought": {"max_words": 3}}, "Two and two more.", "too_long"),
        ({"solution": {"max_tokens": 2}}, "Two.", "too_long"),
        ({}, "Wait, no. " * 30, "repetition"),
        (
            {"languages": ["en"]},
            "这个问题很简单，两个苹果加两个苹果就是四个苹果。",
            "other_language",
        ),
    ],
)
async def test_the_right_answer_alone_is_not_enough(
    ask: Ask, settings: dict[str, Any], thought: str, status: str
) -> None:
    english = reply("4", "Two apples and then two more of them, which makes four.")
    alone = {**NUMBER, **settings, "tries": [1]}
    with pytest.raises(Rejected, match="unsolved"):
        await ask("thoughts", alone, ROW, [reply("4", thought)])
    if "thought" not in settings and "solution" not in settings:
        done = await ask("thoughts", {**alone, "tries": [2]}, ROW, [reply("4", thought), english])
        assert [one["status"] for one in done.fields["candidates"]] == [status, "ok"]
        assert done.kit.discards[0][0] == status
        assert done.fields["chosen"]["sample"] == 1


async def test_a_reply_that_was_cut_does_not_count(ask: Ask) -> None:
    cut = said(reply("4"), finish="length")
    thinking = said("", reasoning="Two, and then", finish="length")
    replies = [cut, thinking, reply("4")]
    done = await ask("thoughts", {**NUMBER, "tries": [2, 1]}, ROW, replies)
    assert [one["status"] for one in done.fields["candidates"]] == ["truncated", "truncated", "ok"]
    assert [why for why, _ in done.kit.discards] == ["truncated", "truncated"]


async def test_without_gold_the_vote_decides(ask: Ask) -> None:
    settings = {"answer": {"type": "number"}, "tries": [2, 3], "agree": 0.6}
    replies = [reply("5"), reply("4"), reply("4.0"), reply("7"), reply("4")]
    done = await ask("thoughts", settings, ROW, replies)
    assert (done.fields["answer"], done.fields["solved_share"]) == ("4", 0.6)
    with pytest.raises(Rejected, match="unsolved"):
        await ask("thoughts", {**settings, "tries": [1]}, ROW, replies)  # one agrees with itself


@pytest.mark.parametrize(("choose", "sample"), [("first", 0), ("shortest", 1), ("longest", 2)])
async def test_which_right_one_is_kept(ask: Ask, choose: str, sample: int) -> None:
    replies = [reply("4", "Two and two."), reply("4", "Two."), reply("4", "Two and two again.")]
    done = await ask("thoughts", {**NUMBER, "tries": [3], "choose": choose}, ROW, replies)
    assert done.fields["chosen"]["sample"] == sample
    assert done.fields["difficulty"] == "easy"


async def test_gold_that_is_no_number_costs_nothing(ask: Ask) -> None:
    with pytest.raises(Rejected, match=r"bad_gold: gold is 'many'"):
        await ask("thoughts", NUMBER, {**ROW, "gold": "many"}, [])
    with pytest.raises(MissingField, match="no field 'gold'"):
        await ask("thoughts", NUMBER, {"question": "?"}, [])


async def test_a_row_fails_only_when_nobody_replied(ask: Ask) -> None:
    with pytest.raises(Unanswered):
        await ask("thoughts", {**NUMBER, "tries": [1, 1]}, ROW, [Unanswered("503")] * 2)
    with pytest.raises(Rejected, match="no_thought"):
        await ask("thoughts", {**NUMBER, "tries": [1, 1]}, ROW, [Unanswered("503"), "Four."])
    done = await ask("thoughts", {**NUMBER, "tries": [2]}, ROW, [Unanswered("503"), reply("4")])
    assert [one["status"] for one in done.fields["candidates"]] == ["failed", "ok"]


@given(st.lists(st.sampled_from(["4", "4.0", "5", None]), min_size=1, max_size=8))
@settings(max_examples=40)
def test_with_gold_exactly_the_candidates_that_equal_it_are_right(
    answers: list[str | None],
) -> None:
    config = ThoughtSettings.model_validate(NUMBER)
    row = source_row("rows", ["1"], ordinal=0, fields=ROW)
    pool = [Candidate(teacher="t", sample=i, answer=a) for i, a in enumerate(answers)]
    marked = judged(pool, row, config, None)
    assert [is_good(one) for one in marked] == [a in {"4", "4.0"} for a in answers]
    # Judged again with more candidates beside it, the verdict on each stays.
    assert judged([*marked, *pool], row, config, None)[: len(pool)] == marked


def test_the_figures_are_a_table_of_rounds() -> None:
    step = find_step("thoughts")
    counted = {"round 1: rows": 8, "round 1: calls": 16, "round 1: solved": 4}
    counted |= {"round 2: rows": 4, "round 2: calls": 12, "other": 1}
    assert step.sums_up is not None  # type: ignore[union-attr]  # a row step
    assert step.sums_up(counted) == {  # type: ignore[union-attr]
        "other": 1,
        "round 1": {"rows": 8, "calls": 16, "solved": 4, "calls so far": 16, "solved so far": 0.5},
        "round 2": {"rows": 4, "calls": 12, "calls so far": 28, "solved so far": 0.5},
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tries": []}, "at least 1"),
        ({"tries": [0]}, "greater than or equal to 1"),
        ({"hard": 0.8}, "hard 0.8 must be below easy 0.75"),
        ({"languages": ["klingon"]}, "'klingon' is no ISO 639 code"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExploreSettings.model_validate({"teacher": "main"} | settings)


async def test_the_pipeline_runs_and_is_replayed_for_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)

    async def run(out: str) -> Any:
        loaded = Pipeline.load(
            project / "pipelines" / "long_reasoning.yaml",
            overrides=["source.limit=40", "steps.mix.with.rows=20"],
            out=tmp_path / out,
            ledger=str(tmp_path / "ledger"),
        )
        return await loaded.run()

    first, again = await run("first"), await run("again")
    rounds = first.figures["thoughts"]
    assert rounds["round 2"]["rows"] == rounds["round 1"]["rows"] - rounds["round 1"]["solved"]
    assert first.counts.kept == 20
    assert again.teachers["main"].attempts == again.teachers["cheap"].attempts == 0
    dataset = [tree_bytes(tmp_path / out / "dataset")["train.jsonl"] for out in ("first", "again")]
    assert dataset[0] == dataset[1]
    assert b"<think>" in dataset[0]


def test_the_forecast_knows_how_often_a_row_may_ask() -> None:
    assert ExploreSettings(teacher="main", tries=(4, 4, 8)).samples == 16
