"""What no judge may do: score what it did not read, leave its scale, or say the same unnoticed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from synthkd.curate.judges.scoring import LEAST_TO_WARN
from synthkd.errors import Rejected
from synthkd.steps import Step, find_step
from tests.curate.judges.asking import always, judged, said, scored

ONE = {"criteria": [{"name": "good", "asks": "?", "scale": [0, 10]}]}
TOLD = '{"reasoning": "Hm.", "verdict": "first"}'
JUDGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "judge.rubric": ({"rubric": ONE}, scored(good=5), scored(good=11)),
    "judge.reference": ({"rubric": ONE, "reference": "gold"}, scored(good=5), scored(good=-1)),
    "judge.panel": ({"rubric": ONE, "teachers": ["a", "b"]}, scored(good=5), scored(good=5.5)),
    "judge.best_of": ({"rubric": ONE}, scored(good=5), scored(good=11)),
    "judge.expected": ({}, "7", "10"),
    "judge.pairwise": ({}, TOLD, TOLD.replace("first", "third")),
}
"""Judge -> settings, a reply that it reads, and one outside of its scale."""
ROW = {
    "instruction": "Why?",
    "response": "Because.",
    "gold": "For a reason.",
    "answers": ["Because.", "So."],
    "response_1": "Because it is so.",
    "response_2": "So.",
}
every_judge = pytest.mark.parametrize("name", JUDGES)


async def told(name: str, reply: Any) -> Any:
    settings = JUDGES[name][0]
    voices = {who: always(reply) for who in settings.get("teachers", ["main"])}
    return await judged(name, settings, ROW, voices)


@every_judge
@pytest.mark.parametrize("how", ["cut", "all of it was reasoning", "a sentence"])
async def test_a_reply_that_was_cut_is_no_verdict(name: str, how: str) -> None:
    good = JUDGES[name][1]
    text = {
        # "7" may have been the beginning of "70 of 100".
        "cut": good if name == "judge.expected" else good[:-1],
        "all of it was reasoning": "",
        "a sentence": "The verdict:\nfirst",
    }[how]
    with pytest.raises(Rejected, match="cut_short: cut at max_tokens, raise it"):
        await told(name, said(text, finish="length"))


@pytest.mark.parametrize("name", [name for name in JUDGES if name != "judge.expected"])
async def test_a_whole_object_that_ends_just_at_max_tokens_is_read(name: str) -> None:
    done = await told(name, said(JUDGES[name][1], finish="length"))
    assert "score" in done.verdict


@every_judge
async def test_what_is_outside_of_the_scale_is_no_verdict_and_is_not_moved_onto_it(
    name: str,
) -> None:
    with pytest.raises(Rejected) as caught:
        await told(name, JUDGES[name][2])
    reason = "no_verdict" if name == "judge.pairwise" else "off_scale"
    assert caught.value.reason == reason


@every_judge
async def test_a_judge_that_always_says_the_same_is_warned_of(name: str) -> None:
    step = find_step(name)
    assert isinstance(step, Step)
    assert step.warns is not None
    figures: Counter[str] = Counter()
    for _ in range(LEAST_TO_WARN):
        figures.update((await told(name, JUDGES[name][1])).figures)
    assert [*step.warns(figures)], figures
    few = {name: count // 2 for name, count in figures.items()}
    assert [*step.warns(few)] == []
