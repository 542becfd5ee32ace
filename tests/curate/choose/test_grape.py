"""GRAPE: what the student would itself most likely have said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import StudentConfig, TeacherConfig
from synthkd.config.student import CUE
from synthkd.curate.choose.grape import Fit, GrapeSettings, chosen_by
from synthkd.errors import Rejected, RequestRefused, RowError, TeacherRefused, Unanswered
from synthkd.steps import Step, find_step
from synthkd.teachers.request import Completion, Request, Usage
from tests.curate.choose.choosing import Student, choose, likely_by, one, who

ASK: dict[str, Any] = {"prompt": "generate/respond"}
POOL = [
    one("a", "4", text="so it is plainly four I should say"),
    one("b", "4", text="2 + 2 = 4"),
    one("b", "5", sample=1, text="2 2 2"),
    one("c", None, text="2"),
]
SUMS = likely_by(dict.fromkeys("2+=4", -0.5))
"""A student that writes sums."""


async def test_the_likeliest_is_learnt_and_the_pool_says_how_likely_each_is() -> None:
    student = Student(SUMS)
    made = await choose("choose.grape", POOL, ASK | {"agreeing": True}, student=student)
    assert (who(made.fields), made.fields["agreement"]) == (("b", 0), 0.5)
    told = [(each.get("likelihood"), each.get("tokens")) for each in made.fields["candidates"]]
    assert told == [(-2.0, 8), (-0.5, 5), (None, None), (None, None)]
    assert set(made.kit.keys) == {f"k{number}" for number in range(1, 5)}
    assert all(request.body["prompt_logprobs"] == 0 for request in student.asked)
    step = find_step("choose.grape")
    assert isinstance(step, Step)
    assert step.sums_up is not None
    figures = step.sums_up(made.figures)
    assert (figures["tokens, chosen"], figures["tokens, offered on average"]) == (5.0, 6.5)


async def test_the_sum_prefers_short_answers_and_the_control_takes_the_unlikeliest() -> None:
    for more, chosen in (
        ({}, ("b", 1)),  # as likely a token as b's first, and shorter
        ({"measure": "sum"}, ("b", 1)),
        ({"take": "least"}, ("a", 0)),
        ({"agreeing": True, "take": "least", "measure": "sum"}, ("a", 0)),
    ):
        made = await choose("choose.grape", POOL, ASK | more, student=Student(SUMS))
        assert who(made.fields) == chosen


async def test_what_is_scored_is_what_is_learnt() -> None:
    student = Student(SUMS)
    await choose("choose.grape", POOL[:1], ASK | {"scored": "rationale_first"}, student=student)
    messages: Any = student.asked[0].body["messages"]
    assert messages[-1]["content"] == "a thinks.\nThe answer is 4"
    cues = {
        config.model_fields["cue"].default
        for config in StudentConfig.__args__[0].__args__
        if "cue" in config.model_fields
    }
    assert cues == {CUE}


async def test_likelihoods_may_come_with_the_pool() -> None:
    pool = [{**each, "likelihood": -1.0} for each in POOL[:2]]
    pool[1]["tokens"] = 3
    made = await choose("choose.grape", pool)
    assert who(made.fields) == ("a", 0)  # equals of unknown length: the first
    for wrong in (None, 0.5, "low"):
        with pytest.raises(RowError, match="likelihood"):
            await choose("choose.grape", [{**POOL[0], "likelihood": wrong}])


async def test_equal_texts_are_asked_about_once() -> None:
    pool = [one("a", "4", sample=sample, text="2 2") for sample in range(3)]
    student = Student(SUMS)
    made = await choose("choose.grape", pool, ASK, student=student)
    assert (who(made.fields), len(student.asked)) == (("a", 0), 2)
    assert made.figures["rows with one distinct candidate"] == 1
    many = [one("a", "4", sample=sample, text="2 " * sample) for sample in range(1, 67)]
    with pytest.raises(RowError, match="66 different candidates, at most 64 are scored"):
        await choose("choose.grape", many, ASK, student=student)
    with pytest.raises(Rejected, match="too_few_candidates: 1 different, distinct is 2"):
        await choose("choose.grape", pool, ASK | {"distinct": 2}, student=student)


async def test_a_candidate_that_cannot_be_scored_is_left_out() -> None:
    def likely(word: str) -> float | RequestRefused:
        return RequestRefused(400, "too long") if word == "plainly" else -1.0

    made = await choose("choose.grape", POOL[:2], ASK, student=Student(likely))
    assert who(made.fields) == ("b", 0)
    assert made.kit.discards == [("no_likelihood", "RequestRefused: HTTP 400: too long")]
    assert "likelihood" not in made.fields["candidates"][0]
    with pytest.raises(RequestRefused, match="too long"):
        await choose("choose.grape", POOL[:1], ASK, student=Student(likely))
    with pytest.raises(Unanswered):
        await choose("choose.grape", POOL, ASK, student=Student(lambda _: Unanswered("503")))
    with pytest.raises(Rejected, match="no_likelihood: text is empty in all 1 candidates"):
        await choose("choose.grape", [one("a", "4", text=None)], ASK, student=Student(SUMS))


class Silent:
    """A teacher that answers, and says nothing of what it was given."""

    async def complete(self, request: Request) -> Completion:
        return Completion("Hm.", "stop", Usage(), b"{}")


async def test_a_teacher_that_tells_no_likelihoods_stops_the_run() -> None:
    with pytest.raises(BaseExceptionGroup) as stopped:
        await choose("choose.grape", POOL, ASK, student=Silent())
    assert stopped.group_contains(TeacherRefused, match="does not say how likely")


def test_and_is_refused_by_the_plan_where_that_is_known() -> None:
    config = GrapeSettings(teacher="t", prompt="p")
    world = {"simulated": {"world": "arithmetic"}}
    for block, fault in (
        (world, "is simulated and cannot say"),
        ({"endpoint": "http://127.0.0.1:1/v1", "model": "m", "mode": "batch"}, "in batches"),
        ({"student": {"folder": "x"}}, None),
    ):
        faults = list(config.teacher_faults({"t": TeacherConfig.model_validate(block)}))
        assert len(faults) == (fault is not None)
        assert fault is None or fault in faults[0]
    assert not list(GrapeSettings().teacher_faults({}))
    assert (GrapeSettings().also_shown, config.also_shown) == ([], ["candidates"])
    with pytest.raises(ValidationError, match="teacher and prompt go together"):
        GrapeSettings(teacher="t")
    with pytest.raises(ValidationError, match="only have the mean"):
        GrapeSettings(measure="sum")


FITS = st.builds(Fit, st.sampled_from([-3.0, -1.0, -0.5]), st.integers(1, 4))


@given(st.lists(st.none() | FITS, min_size=1, max_size=6), st.sampled_from(["mean", "sum"]))
def test_the_choice_is_the_best_and_of_equals_the_shortest(
    fits: list[Fit | None], measure: Any
) -> None:
    known = [fit for fit in fits if fit]
    if not known:
        return

    def likely(fit: Fit) -> float:
        return fit.mean * (fit.tokens if measure == "sum" else 1)

    best = fits[chosen_by(fits, measure, "most")]
    worst = fits[chosen_by(fits, measure, "least")]
    assert best
    assert worst
    assert likely(best) == max(map(likely, known))
    assert likely(worst) == min(map(likely, known))
    assert best.tokens == min(fit.tokens for fit in known if likely(fit) == likely(best))
