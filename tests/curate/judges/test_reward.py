"""A served reward model as a judge: over real sockets, and what is made of its number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import RequestRefused, TeacherRefused, UserError
from synthkd.evaluate.preference import logistic
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.fake_teacher.chat import Body
from synthkd.pipeline import Pipeline
from tests.curate.judges.asking import judged, patient, said

ROW = {"instruction": "Why?", "response": "So."}
FINITE = st.floats(-1e6, 1e6)


def words(body: Body) -> str:
    """The reward is the number of words of the answer."""
    text = body["input"] if "input" in body else body["messages"][-1]["content"]
    return str(len(text.split()))


def pipeline(
    folder: Path, url: str, more: str = "", block: str = "", teacher: str = "rm"
) -> Pipeline:
    (folder / "rows.jsonl").write_text(
        "".join(
            f'{{"instruction": "Say {n}", "response": "{" ".join(["so"] * n)}"}}\n'
            for n in range(1, 7)
        ),
        encoding="utf-8",
    )
    file = folder / "reward.yaml"
    file.write_text(
        f"""
name: reward
teachers: {{rm: {{endpoint: "{url}", model: m, served_by: me{block}}}}}
source: {{jsonl: rows.jsonl, id: [instruction]}}
steps:
  - use: judge.reward
    with: {{teacher: {teacher}{more}}}
export: {{format: rows, keep: [instruction, verdict]}}
""",
        encoding="utf-8",
    )
    return Pipeline.load(file, out=folder / "out", ledger=str(folder / "ledger.sqlite"))


def test_rewards_are_bought_once_and_those_below_the_least_are_rejected(tmp_path: Path) -> None:
    with in_thread(FakeTeacher(answer=words, rates={"500": 0.3})) as provider:
        first = pipeline(tmp_path, provider.url, ", middle: 3, keep_at_least: 0.5").run_sync()
        asked = provider.requests
        body = provider.seen[0]
    assert (first.counts.kept, first.counts.rejected, first.counts.failed) == (4, 2, 0)
    assert first.funnel["judge.reward"].reasons == {"low_score": 2}
    assert [message["role"] for message in body["messages"]] == ["user", "assistant"]
    assert body["use_activation"] is False
    assert first.spend.requests == 6 < asked, "what failed was tried again, and not charged"
    assert first.spend.completion_tokens == 0
    again = pipeline(tmp_path, "http://127.0.0.1:9/v1", ", middle: 5, keep_at_least: 0.5")
    told = again.run_sync(offline=True)
    assert (told.counts.kept, told.spend.requests) == (2, 6), "another middle buys nothing"


def test_a_server_without_rewards_stops_the_run_with_one_message(tmp_path: Path) -> None:
    with in_thread(FakeTeacher()) as provider:
        # A base URL whose server has nothing at /classify beside it.
        file = pipeline(tmp_path, f"{provider.url}/elsewhere")
        with pytest.raises(TeacherRefused, match=r"404.*/classify, beside the /v1.*--runner"):
            file.run_sync()


@pytest.mark.parametrize(
    ("name", "block", "fault"),
    [
        ("rm", ", mode: batch", "no provider scores in batches"),
        ("other", "}, other: {simulated: {world: arithmetic}", "is simulated, and no reward model"),
    ],
)
def test_who_cannot_be_a_reward_model_is_refused_before_anything_is_asked(
    tmp_path: Path, name: str, block: str, fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        pipeline(tmp_path, "http://127.0.0.1:9/v1", block=block, teacher=name).run_sync()
    assert not (tmp_path / "ledger.sqlite").exists()


async def test_the_verdict_has_the_reward_as_it_was_given() -> None:
    done = await judged("judge.reward", {"middle": 1.0}, ROW, lambda _: said("[3.5]"))
    assert done.verdict["reward"] == 3.5
    assert done.verdict["score"] == pytest.approx(1 / (1 + math.exp(-2.5)))
    (answer,) = done.verdict["answers"]
    assert (answer["key"], answer["text"], answer["fault"]) == ("main-1", "[3.5]", None)
    (request,) = done.asked
    assert request.api == "classify"
    assert done.kit.keys == ["main-1"]


async def test_a_classifier_is_no_reward_model() -> None:
    with pytest.raises(TeacherRefused, match="gives 3 numbers"):
        await judged("judge.reward", {}, ROW, lambda _: said("[0.1, 0.2, 0.7]"))


async def test_a_conversation_that_is_too_long_fails_its_row_alone() -> None:
    with pytest.raises(RequestRefused):
        await judged("judge.reward", {}, ROW, lambda _: RequestRefused(400, "too long"))


@patient
@given(FINITE, FINITE)
def test_more_reward_is_never_less_score(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert 0 <= logistic(low) <= logistic(high) <= 1
    assert logistic(one) + logistic(-one) == pytest.approx(1)
    # So that any reward can be the least that is kept, however large: `middle` with 0.5.
    assert logistic(low - high) <= 0.5 <= logistic(high - low)


def test_the_forecast_counts_no_tokens_of_answers(tmp_path: Path) -> None:
    forecast = pipeline(tmp_path, "http://127.0.0.1:9/v1").plan()
    (call,) = forecast.calls
    assert (call.calls, call.completion_tokens) == (6, 0)
    assert call.prompt_tokens


def test_a_raw_prompt_is_scored_as_text_and_many_travel_together(tmp_path: Path) -> None:
    (tmp_path / "flat.md.j2").write_text(
        "---\ninputs: [question, candidate]\noutput: text\n---\n{# raw #}\n"
        "Q: {{ question }} A: {{ candidate }}",
        encoding="utf-8",
    )
    with in_thread(FakeTeacher(answer=words)) as provider:
        done = pipeline(tmp_path, provider.url, ", prompt: flat, keep_at_least: 0.0").run_sync()
        texts: list[Any] = [body["input"] for body in provider.seen]
    assert done.counts.kept == 6
    flat = [text for each in texts for text in (each if isinstance(each, list) else [each])]
    assert len(flat) == 6
    assert len(texts) < 6
    assert "Q: Say 1 A: so" in {text.strip() for text in flat}
