"""The driver of generators: exactly so many, the same whatever happens, and an end where needed."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.config import HoldoutConfig, Price
from synthkd.desk import Desk
from synthkd.errors import (
    BudgetReached,
    NotInLedger,
    TooManyLost,
    Unanswered,
    UserError,
    Waiting,
)
from synthkd.io.sources import side_of
from synthkd.io.spool import RowSpool, Table
from synthkd.pipeline import Pipeline
from synthkd.recipes.instruct.seeded import SelfSettings, self_instruct
from synthkd.recipes.instruct.waves import most_questions
from synthkd.recipes.instruct.yields import Yield
from synthkd.rows import Fields, source_row
from synthkd.table_kit import Question
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage
from synthkd.teachers.simulated.instructions.grammar import instruction
from tests.recipes.instruct.growing import Grown, Told, completion, grown
from tests.runs import tree_bytes

SEEDS: list[Fields] = [
    {"instruction": "Name three colours of the rainbow.", "note": "a"},
    {"instruction": "Write a poem about a train.", "note": "b"},
    {"instruction": "Explain how bread is baked at home.", "note": "c"},
]
SMALL = {"accept": 12, "wave": 2, "per_question": 4}


def writes(question: Question) -> str:
    """A list of instructions, a function of the question."""
    rng = random.Random(repr((question.inputs, question.sample)))
    first, last = (int(str(question.inputs[name])) for name in ("first", "last"))
    return "\n".join(f"{n}. {instruction(rng)}" for n in range(first, last + 1))


def texts(found: Grown) -> list[str]:
    return [str(row.fields["instruction"]) for row in found.new]


def test_exactly_so_many_are_accepted_and_no_wave_more_is_asked(tmp_path: Path) -> None:
    found = grown("instruct.self", SMALL, SEEDS, writes, tmp_path)
    assert found.ended is None
    assert [row.fields.get("origin") for row in found.rows[:3]] == ["seed"] * 3
    assert len(found.new) == 12
    assert len({row.id for row in found.rows}) == 15
    figures = found.kit.figures
    assert figures["accepted"] == 12
    before = 4 * sum(map(len, found.kit.waves[:-1]))  # candidates of all waves but the last
    lost = Counter(found.reasons)
    assert before - (lost.total() - lost["enough"]) < 12
    assert figures["candidates"] == 12 + lost.total() - lost["enough"]
    seeds = {row.id: row for row in found.rows[:3]}
    for row in found.new:
        assert row.made_by
        assert set(row.roots) <= seeds.keys()
        assert row.order[:1] == seeds[row.roots[0]].order
        assert "note" not in row.fields


def test_fewer_rows_are_the_beginning_of_more(tmp_path: Path) -> None:
    many = grown("instruct.expand", {**SMALL, "accept": 20}, SEEDS, writes, tmp_path)
    few = grown("instruct.expand", {**SMALL, "accept": 9}, SEEDS, writes, tmp_path)
    assert texts(few) == texts(many)[:9]
    assert few.kit.waves == many.kit.waves[: len(few.kit.waves)]


def test_what_is_accepted_is_shown_later_and_nothing_is_near_anything(tmp_path: Path) -> None:
    found = grown("instruct.self", {**SMALL, "accept": 30}, SEEDS, writes, tmp_path)
    shown = [
        len(set(question.inputs["instructions"]) & set(texts(found)))  # type: ignore[arg-type]
        for wave in found.kit.waves
        for question in wave
    ]
    assert shown[:2] == [0, 0]
    assert set(shown[2:]) == {2}
    again = grown("instruct.self", {**SMALL, "accept": 30}, SEEDS, writes, tmp_path)
    assert [row.fields for row in again.rows] == [row.fields for row in found.rows]


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        ("1. Sing a song about a kettle. 2. x", {"too_similar"}),  # the same for ever
        ("I would rather not.", {"no_list", "not_given"}),
        ("", {"empty_answer", "not_given"}),
    ],
)
def test_a_teacher_of_whom_nothing_comes_ends_the_run(
    reply: str, reasons: set[str], tmp_path: Path
) -> None:
    settings = {**SMALL, "per_question": 1, "yield_over": 30}
    found = grown("instruct.self", settings, SEEDS, lambda question: reply, tmp_path)
    assert isinstance(found.ended, TooManyLost)
    told = str(found.ended)
    assert "yield too low: of the last 30 candidates" in told
    assert "min_yield is 0.1" in told
    assert reasons >= set(found.reasons)
    assert sum(map(len, found.kit.waves)) == 30  # and not one wave more
    assert "questions in 15 waves" in told


@pytest.mark.parametrize(
    ("most", "reason"),
    [(0, "too_similar"), (1e-20, "too_similar"), (1, "repeated"), (None, "repeated")],
)
def test_one_instruction_for_ever_ends_the_run_whatever_the_threshold(
    most: float | None, reason: str, tmp_path: Path
) -> None:
    settings = {**SMALL, "per_question": 1, "yield_over": 20, "max_similarity": most}
    found = grown("instruct.self", settings, SEEDS, lambda q: "1. Sing  OF a kettle", tmp_path)
    assert isinstance(found.ended, TooManyLost)
    assert found.reasons[-1] == reason
    assert len(found.new) == (most is None or most == 1 or 0)


def test_a_question_without_an_answer_is_asked_again_and_then_ends_the_run(tmp_path: Path) -> None:
    left = {"failures": 2}

    def fails(question: Question) -> Any:
        left["failures"] -= 1
        return Unanswered("HTTP 503") if left["failures"] >= 0 else writes(question)

    found = grown("instruct.self", SMALL, SEEDS, fails, tmp_path)
    assert found.ended is None
    plain = grown("instruct.self", SMALL, SEEDS, writes, tmp_path)
    assert texts(found) == texts(plain)
    for error in (Unanswered("HTTP 503"), NotInLedger("never bought")):
        found = grown("instruct.self", SMALL, SEEDS, lambda question, e=error: e, tmp_path)  # type: ignore[misc]
        assert isinstance(found.ended, TooManyLost)
        assert "2 of 2 questions of wave 1 have no answer" in str(found.ended)


@pytest.mark.parametrize("number", range(24))
def test_no_more_is_asked_than_the_forecast_says(number: int, tmp_path: Path) -> None:
    """Whatever the teacher gives: few or many items, new ones at any rate, in any stretches."""
    rng = random.Random(number)
    rate = rng.choice([0.05, 0.1, 0.2, 0.5])
    settings = {
        "accept": rng.randint(1, 40),
        "wave": rng.randint(1, 12),
        "per_question": rng.randint(1, 5),
        "yield_over": rng.randint(1, 60),
        "min_yield": rng.choice([0.05, 0.1, 0.3]),
        "max_similarity": 1.0,
        "form": {"min_words": 1},
    }

    def writes_some(question: Question) -> str:
        items = [
            f"word{rng.random()}" if rng.random() < rate else "?"
            for _ in range(rng.choice([0, 1, 3, 9]))
        ]
        return "\n".join(f"{place}. {item}" for place, item in enumerate(items))

    found = grown("instruct.self", settings, SEEDS, writes_some, tmp_path)
    assert found.ended is None or "yield too low" in str(found.ended)
    config = SelfSettings.model_validate({"teacher": "main", **settings})
    asked = sum(map(len, found.kit.waves))
    assert asked <= most_questions(config, config.per_question)
    assert (len(found.new) == config.accept) == (found.ended is None)


def test_seeds_that_are_dropped_are_in_the_account(tmp_path: Path) -> None:
    rows: list[Fields] = [*SEEDS, {"instruction": " "}, {"note": "d"}]
    settings = {**SMALL, "accept": 1, "seeds": "drop"}
    found = grown("instruct.expand", settings, rows, writes, tmp_path)
    (made,) = found.rows
    fates = {row.order[0]: getattr(why, "reason", "merged") for row, why in found.gone}
    assert {n: fates[n] for n in (3, 4)} == dict.fromkeys((3, 4), "no_instruction")
    assert sorted(fates[n] for n in range(3)) == ["merged", "merged", "seed_unused"]
    (unused,) = (row for row, why in found.gone if getattr(why, "reason", "") == "seed_unused")
    assert unused.id not in made.roots


def test_without_a_seed_nothing_is_asked(tmp_path: Path) -> None:
    without: list[Fields] = [{"instruction": None}, {"other": "x"}]
    for rows in (without, []):
        found = grown("instruct.self", SMALL, rows, writes, tmp_path)
        assert isinstance(found.ended, UserError)
        assert f"none of {len(rows)} rows has text in 'instruction'" in str(found.ended)
        assert found.kit.waves == []


def test_what_falls_on_a_side_that_is_held_out_is_refused(tmp_path: Path) -> None:
    holdout = HoldoutConfig(test=0.5, by=["instruction"])
    found = grown("instruct.self", SMALL, SEEDS, writes, tmp_path, holdout=holdout)
    assert {side_of([text], holdout) for text in texts(found)} == {"train"}
    assert "held_out" in found.reasons


def test_a_later_round_makes_new_rows_unlike_those_of_earlier_ones(tmp_path: Path) -> None:
    first = grown("instruct.self", SMALL, SEEDS, writes, tmp_path)
    repeats = texts(first)

    def copies(question: Question) -> str:
        return writes(question) + f"\n99. {repeats[0]}"

    later = grown("instruct.self", SMALL, SEEDS, copies, tmp_path, earlier=first.rows, number=1)
    assert len(later.new) == 12
    assert not {row.id for row in later.new} & {row.id for row in first.rows}
    assert not set(texts(later)) & set(repeats)
    assert later.kit.figures["lost"]["too_similar"] >= 3  # type: ignore[index,call-overload,operator]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"accept": 0}, "accept"),
        ({"wave": 0}, "wave"),
        ({"min_yield": 0.0}, "min_yield"),
        ({"shown": 2, "shown_made": 2}, "leave room for a seed"),
        ({"form": {"min_words": 9, "max_words": 8}}, "no instruction can fit"),
        ({"max_similarity": 1.5}, "max_similarity"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        grown("instruct.self", {**SMALL, **settings}, SEEDS, writes, tmp_path)


# --- whole runs


def pipeline(folder: Path, name: str, **more: Any) -> Pipeline:
    """Over a few seeds, on a simulated teacher."""
    folder.mkdir(exist_ok=True)
    (folder / "seeds.jsonl").write_bytes(b"\n".join(map(orjson.dumps, SEEDS)))
    file = {
        "name": "grows",
        "teachers": {
            "main": {"simulated": {"world": "instructions", "error_rate": 0.2}, "concurrency": 4}
        },
        "source": {"jsonl": "seeds.jsonl"},
        "steps": [{"use": "instruct.self", "with": {"teacher": "main", "accept": 60, "wave": 3}}],
        "export": {"format": "rows"},
        **more,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    return Pipeline.load(
        folder / f"{name}.yaml", out=folder / "out", ledger=str(folder / "ledger.sqlite")
    )


def test_a_run_that_was_stopped_anywhere_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Another order of answers, stops in the midst of any wave: the same, nothing paid twice."""
    limited = {
        "main": {
            "simulated": {"world": "instructions", "error_rate": 0.2, "rate_limit_rate": 0.3},
            "concurrency": 1,
        }
    }
    whole = pipeline(tmp_path / "whole", "p", teachers=limited).run_sync()
    wanted = tree_bytes(tmp_path / "whole" / "out" / "dataset")
    asked = whole.teachers["main"].attempts - whole.teachers["main"].rate_limited
    assert whole.counts.kept == 3
    assert asked == whole.figures["instruct.self"]["questions"]
    stops = 0
    for requests in range(1, asked, 4):
        with pytest.raises(BudgetReached):
            pipeline(tmp_path / "cut", "p", budget={"requests": requests}).run_sync()
        stops += 1
    assert stops > 2
    manifest = pipeline(tmp_path / "cut", "p").run_sync()
    assert tree_bytes(tmp_path / "cut" / "out" / "dataset") == wanted
    assert manifest.spend.requests == asked


def test_dropped_seeds_and_bad_ones_add_up(tmp_path: Path) -> None:
    lines = [*SEEDS, {"instruction": 7}, {"note": "no instruction"}]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    settings = {"teacher": "main", "accept": 4, "wave": 1, "shown": 2, "shown_made": 0}
    seen: list[str] = []
    run = pipeline(
        tmp_path,
        "p",
        source={"jsonl": "rows.jsonl"},
        steps=[{"use": "instruct.self", "with": {**settings, "seeds": "drop"}}],
    )
    manifest = run.run_sync(on_progress=lambda progress: seen.extend(progress.told))
    line = manifest.funnel["instruct.self"]
    assert (line.entered, line.made, line.out) == (5, 4, 4)
    assert (line.merged, line.reasons) == (2, {"no_instruction": 2, "seed_unused": 1})
    assert (manifest.counts.kept, manifest.counts.rejected) == (2, 3)
    assert set(seen) <= {"instruct.self: 4 of 4 accepted, yield 100%, about 0 questions to go"}


def test_a_run_of_which_nothing_comes_stops_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    empty = {"main": {"simulated": {"world": "instructions", "malformed_rate": 1.0}}}
    for _ in range(2):
        with pytest.raises(TooManyLost, match="yield too low: of the last 200") as stopped:
            pipeline(tmp_path, "p", teachers=empty).run_sync()
        assert stopped.value.exit_code == 4
        assert "from 27 questions in 9 waves; lost: 189 not_given, 27 no_list" in str(stopped.value)
        assert "at this yield the rest will never come" in str(stopped.value)
        assert "take what there is" not in str(stopped.value)
    told = orjson.loads((tmp_path / "out" / "stopped" / "stopped.json").read_bytes())
    assert told["spend"]["requests"] == 27


def test_where_answers_are_under_way_in_a_batch_nothing_more_is_asked(tmp_path: Path) -> None:
    """What comes after a wave depends on its answers: the run ends here, and all rows wait."""

    def waits(question: Question) -> Waiting:
        found.waiting = Waiting("in a batch")
        return found.waiting

    desk = Desk(step="instruct.self", work=tmp_path)
    found = Told(desk, waits)
    config = SelfSettings.model_validate({"teacher": "main", **SMALL, "seeds": "drop"})
    rows = [source_row("t", [n], ordinal=n, fields=each) for n, each in enumerate(SEEDS)]
    with RowSpool.of(tmp_path / "rows.spool", rows) as spool:
        assert list(self_instruct(Table(spool), found, config)) == []
    assert len(found.waves) == 1
    assert (found.take_gone(), found.take_discards()) == ([], [])


def test_the_books_tell_what_the_rest_will_take() -> None:
    price = Price(prompt=1, completion=2)  # dollars a million tokens
    teacher = OpenTeacher(
        name="t",
        model="m",
        params={},
        max_tokens=None,
        simulated=False,
        stack=Nobody(),
        price=price,
    )
    books = Yield(30, 4, teacher)
    assert books.figures()["questions_to_go"] is None
    usage = Usage(prompt_tokens=500, completion_tokens=250)
    books.asked([completion("x", usage=usage)] * 5)
    books.wave(5)
    for accepted in (True, False, True, True, False, True, True, True, False, True):
        books.accept() if accepted else books.lose("dull")
    figures = books.figures()
    # Of the last four three were accepted, and each question had two candidates.
    assert figures["questions_to_go"] == round((30 - 7) / 1.5)
    assert figures["usd_a_row"] == pytest.approx(0.005 / 7, abs=1e-6)
    assert figures["usd_to_go"] == pytest.approx(0.001 * 15)
    assert books.in_words() == (
        "7 of 30 accepted, yield 75%, about 15 questions and 0.01 USD to go"
    )
    assert books.too_low(0.75) is None
    assert "of the last 4 candidates 3 were accepted" in str(books.too_low(0.8))


class Nobody:
    """A teacher that is never asked."""

    async def complete(self, request: Request) -> Completion:
        raise NotImplementedError
