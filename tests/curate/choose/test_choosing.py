"""`choose.vote`, `choose.rerank`, `choose.panel`: who is chosen, and that the pool stays."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.answers import AnswerSettings, read
from synthkd.config import SimulatedConfig
from synthkd.curate.choose.panel import panel
from synthkd.desk import Desk
from synthkd.errors import MissingField, Rejected, RowError, UserError
from synthkd.io.spool import RowSpool, Table
from synthkd.kit import Kit
from synthkd.rows import Json, Row, source_row
from synthkd.steps import Step, find_step
from synthkd.table_kit import TableKit
from synthkd.teachers.request import Request
from synthkd.teachers.simulated import open_world


def pool(*answers: str | None, **numbers: Sequence[Json]) -> list[dict[str, Json]]:
    """One candidate of teachers a, b, ... for each answer, with numbers such as scores."""
    return [
        {
            "teacher": "abcdefgh"[place],
            "sample": 0,
            "rationale": f"because {place}",
            "answer": answer,
            "status": "ok" if answer is not None else "no_cue",
            "finish": "stop",
            "key": f"key {place}",
            **{name: values[place] for name, values in numbers.items()},
        }
        for place, answer in enumerate(answers)
    ]


async def choose(name: str, candidates: Json, **config: Any) -> Row:
    found = find_step(name)
    assert isinstance(found, Step)
    row = source_row("t", ["1"], ordinal=0, fields={"candidates": candidates})
    made = found.run(row, Kit(Desk(step=name), "row"), found.config.model_validate(config))
    (done,) = [one async for one in made]
    assert done.fields["candidates"] == candidates
    return done


def who(row: Row) -> Any:
    chosen: Any = row.fields["chosen"]
    return chosen["teacher"]


# --- choose.vote


async def test_the_vote_gives_the_first_candidate_of_the_most_frequent_answer() -> None:
    done = await choose("choose.vote", pool("1", "2", None, "2.0"))
    assert {name: done.fields[name] for name in done.fields if name != "candidates"} == {
        "answer": "2",
        "rationale": "because 1",
        "finish": "stop",
        "chosen": {"teacher": "b", "sample": 0, "key": "key 1"},
        "agreement": 0.5,
        "confidence": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        ({}, "2"),
        ({"weight": "score"}, "1"),
        ({"teacher_weights": {"a": 3, "b": 1, "c": 1}}, "1"),
        ({"weight": "score", "teacher_weights": {"a": 0, "b": 1, "c": 1}}, "2"),
        ({"weight": "logprob"}, "2"),
    ],
)
async def test_what_a_candidate_counts_for(config: dict[str, Any], answer: str) -> None:
    candidates = pool("1", "2", "2", score=[0.9, 0.2, 0.3], logprob=[-1.0, -0.5, math.log(0.5)])
    done = await choose("choose.vote", candidates, **config)
    assert done.fields["answer"] == answer


async def test_the_candidate_that_weighs_most_speaks_for_its_answer() -> None:
    done = await choose("choose.vote", pool("1", "1", score=[0.2, 0.7]), weight="score")
    assert (who(done), done.fields["confidence"]) == ("b", 1.0)
    unscored = await choose("choose.vote", pool("1", "2", score=[None, 0.1]), weight="score")
    assert who(unscored) == "b"


@pytest.mark.parametrize(
    ("candidates", "config", "reason"),
    [
        ([], {}, "no_candidate"),
        (pool(None, None), {}, "no_candidate"),
        (pool("1", "2"), {"ties": "reject"}, "tie"),
        (pool("1", "1", None, "2"), {"at_least": 0.6}, "few_votes"),
    ],
)
async def test_what_is_rejected(candidates: Json, config: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await choose("choose.vote", candidates, **config)
    assert caught.value.reason == reason


async def test_candidates_that_are_all_equal_are_sure() -> None:
    done = await choose("choose.vote", pool("1", "1.0", "$1"), ties="reject", at_least=1)
    assert (done.fields["agreement"], done.fields["confidence"]) == (1.0, 1.0)


async def test_numbers_that_are_near_are_one_answer_where_that_is_said() -> None:
    candidates = pool("3", "2.9999999", "4", "4.0000001", "4")
    assert (await choose("choose.vote", candidates)).fields["agreement"] == 2 / 5
    done = await choose("choose.vote", candidates, answer={"type": "number"})
    assert (done.fields["answer"], done.fields["agreement"]) == ("4", 3 / 5)


@pytest.mark.parametrize("name", ["choose.vote", "choose.rerank", "choose.random"])
async def test_an_answer_that_a_filter_was_against_neither_votes_nor_is_chosen(name: str) -> None:
    """As `thoughts` leaves it: the answer is there, and the status says what is wrong."""
    status = ["too_long", "too_long", "run_on_cut", "no_cue"]
    done = await choose(name, pool("1", "1", "2", None, status=status, score=[1.0] * 4))
    assert (done.fields["answer"], done.fields["agreement"]) == ("2", 1 / 4)


async def test_no_candidate_says_what_became_of_them() -> None:
    with pytest.raises(Rejected, match="no_candidate") as caught:
        await choose("choose.vote", pool(None, None))
    assert caught.value.detail == "none of 2 can be used: 2 no_cue"


@pytest.mark.parametrize(
    ("candidates", "config", "error", "message"),
    [
        (pool("1"), {"weight": "score"}, MissingField, "no candidate has a 'score'"),
        (pool("1", score=[-1]), {"weight": "score"}, RowError, "must not be below 0"),
        (pool("1"), {"teacher_weights": {"z": 1}}, RowError, "has none for 'a'; it has z"),
        (pool("1", score=["high"]), {"weight": "score"}, RowError, "must be a number"),
    ],
)
async def test_weights_that_are_none(
    candidates: Json, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await choose("choose.vote", candidates, **config)


# --- choose.rerank


@pytest.mark.parametrize(
    ("config", "answer", "teacher"),
    [
        ({"top": 1}, "2", "c"),
        ({"top": 2}, "1", "d"),  # the lone 3 is out, whatever the judge says
        ({"top": 3}, "3", "f"),
        ({"top": 2, "weighted": True}, "2", "c"),
    ],
)
async def test_the_judge_decides_among_the_largest_clusters(
    config: dict[str, Any], answer: str, teacher: str
) -> None:
    candidates = pool("2", "2", "2", "1", "1", "3", score=[0.2, 0.4, 0.5, 0.8, 0.1, 0.9])
    done = await choose("choose.rerank", candidates, **config)
    assert (done.fields["answer"], who(done)) == (answer, teacher)


async def test_of_equal_scores_the_larger_cluster_wins() -> None:
    done = await choose("choose.rerank", pool("1", "2", "2", score=[0.5, 0.5, 0.1]))
    assert done.fields["answer"] == "2"
    assert done.fields["agreement"] == pytest.approx(2 / 3)


def test_a_ranking_needs_a_score() -> None:
    with pytest.raises(ValidationError, match="a score to rank by"):
        find_step("choose.rerank").config.model_validate({"weight": None})


# --- choose.panel


def answered(rows: list[list[dict[str, Json]]], **config: Any) -> tuple[list[Row], TableKit]:
    found = find_step("choose.panel").config.model_validate(config)
    kit = TableKit(Desk(step="choose.panel"))
    made = [
        source_row("t", [place], ordinal=place, fields={"candidates": one})
        for place, one in enumerate(rows)
    ]
    with RowSpool.of(Path("rows.spool"), made) as spool:
        return list(panel(Table(spool), kit, found)), kit


def simulated(accuracies: dict[str, float], rows: int, wrong: int, seed: int = 0) -> list[Any]:
    """Teachers of known accuracy; the truth is row number, a mistake is one of `wrong` others."""
    rng = random.Random(seed)
    return [
        [
            {
                "teacher": teacher,
                "answer": str(row)
                if rng.random() < accuracy
                else f"wrong {row} {rng.randrange(wrong)}",
            }
            for teacher, accuracy in accuracies.items()
        ]
        for row in range(rows)
    ]


def test_accuracies_are_learnt_without_gold() -> None:
    true = {"good": 0.9, "fair": 0.6, "poor": 0.3, "poorer": 0.2}
    kept, kit = answered(simulated(true, rows=800, wrong=10))
    told = kit.figures["accuracies"]
    assert isinstance(told, dict)
    assert told == {teacher: pytest.approx(share, abs=0.06) for teacher, share in true.items()}
    right = [row.fields["answer"] == str(row.order[0]) for row in kept]
    assert sum(right) / 800 > 0.89  # what the best one alone has, and more than a plain vote's
    # Where teachers err independently a posterior is a probability.
    sure = [row.fields["confidence"] for row in kept]
    assert sum(sure) / 800 == pytest.approx(sum(right) / 800, abs=0.03)  # type: ignore[arg-type]


def test_a_property_splits_a_teacher() -> None:
    rng = random.Random(1)
    rows = simulated({"x": 0.9, "y": 0.9, "z": 0.9}, rows=300, wrong=10)
    for row in rows:
        for one in row:
            one["sums"] = rng.random() < 0.7
            if not one["sums"]:
                one["answer"] = f"wrong {rng.random()}"
    _, kit = answered(rows, by=["sums"])
    told: Any = kit.figures["accuracies"]
    assert told["x / True"] == pytest.approx(0.9, abs=0.06)
    assert told["x / False"] < 0.2


def test_a_panel_rejects_what_is_none_and_what_is_not_sure() -> None:
    rows = simulated({"x": 0.9, "y": 0.9, "z": 0.9}, rows=30, wrong=5)
    rows += [[{"teacher": "x", "answer": None, "status": "refused"}], [], "pool"]
    kept, kit = answered(rows, at_least=0.9)
    gone = Counter(why.reason for _, why in kit.take_gone() if isinstance(why, Rejected))
    assert gone["no_candidate"] == 2
    assert gone["unreadable_pool"] == 1
    assert len(kept) == 30 - gone["low_confidence"] > 20
    assert all(row.fields["confidence"] >= 0.9 for row in kept)  # type: ignore[operator]


def test_a_panel_does_not_hear_what_a_filter_was_against() -> None:
    rows = simulated({"x": 0.9, "y": 0.9, "z": 0.9}, rows=30, wrong=5)
    for row in rows:
        row.append({"teacher": "w", "answer": "wrong", "status": "repetition"})
    kept, kit = answered(rows)
    assert len(kept) == 30
    assert "w" not in kit.figures["answers"]  # type: ignore[operator]


def test_a_panel_of_nobody_rejects_all() -> None:
    kept, kit = answered([[], []])
    assert kept == []
    assert len(kit.take_gone()) == 2


def test_a_property_that_nobody_has_ends_the_run_with_its_name() -> None:
    with pytest.raises(UserError, match="no candidate has 'sumz'"):
        answered(simulated({"x": 0.9}, rows=2, wrong=2), by=["sumz"])


# --- laws


@given(
    answers=st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=6),
    shift=st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_who_is_asked_first_decides_ties_and_nothing_else(
    answers: list[str | None], shift: int
) -> None:
    """Without a tie the order of the pool makes no difference to the answer of a vote."""
    import asyncio

    turned = answers[shift:] + answers[:shift]

    def told(order: list[str | None]) -> str:
        try:
            done = asyncio.run(choose("choose.vote", pool(*order), ties="reject"))
        except Rejected as rejected:
            return rejected.reason
        return str(done.fields["answer"])

    assert told(answers) == told(turned)


@pytest.mark.parametrize(("voters", "least"), [(3, 2), (5, 3)])
async def test_a_vote_of_k_keeps_and_errs_as_the_formula_says(voters: int, least: int) -> None:
    """The simulated teacher errs in 4 of 10 answers, by one of six slips, each as often."""
    teacher = open_world(SimulatedConfig(world="arithmetic", error_rate=0.4))
    kept = right = 0
    rows = 400
    for row in range(rows):
        question = f"Ada has {20 + row} pens. She buys 5. How many?"
        asked = Request(body={}, prompt="rationale/question", inputs={"question": question})
        replies = [await teacher.complete(asked._replace(sample=k)) for k in range(voters)]
        answers = [read(reply.text, AnswerSettings(type="number")).answer for reply in replies]
        try:
            done = await choose("choose.vote", pool(*answers), at_least=least / voters)
        except Rejected:
            continue
        kept += 1
        right += done.fields["answer"] == str(25 + row)
    good = tail(0.6, voters, least)
    every = good + 6 * tail(0.4 / 6, voters, least)
    assert kept / rows == pytest.approx(every, abs=0.07)
    assert right / kept == pytest.approx(good / every, abs=0.05)


def tail(share: float, k: int, least: int) -> float:
    """P(at least so many of k), each with probability `share`."""
    return sum(math.comb(k, n) * share**n * (1 - share) ** (k - n) for n in range(least, k + 1))
