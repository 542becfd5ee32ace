"""Stages, mixtures, quotas, weights and replay: exact to the row, and what becomes of odd rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.curriculum.mix import MixSettings
from synthkd.curate.curriculum.rows import times_each
from synthkd.curate.curriculum.shares import (
    domain_weights,
    equal_stages,
    gap,
    mixture,
    quotas,
    stages_between,
)
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.feedback import Example, Feedback
from synthkd.io.spool import RowSpool, Table
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import Step, TableStep, find_step
from synthkd.table_kit import TableKit
from synthkd.teachers.simulated import problems

NUMBERS = st.lists(st.integers(-3, 9).map(float), min_size=1, max_size=30)


def run(
    use: str,
    given_fields: Sequence[Fields],
    *,
    earlier: Sequence[Row] = (),
    number: int = 0,
    feedback: Feedback | None = None,
    **with_: Any,
) -> tuple[list[Row], Counter[str], dict[str, Any]]:
    """The rows, the reasons of those that are lost, and the figures."""
    rows = [source_row("s", [i], ordinal=i, fields=f) for i, f in enumerate(given_fields)]
    kit = TableKit(Desk(step=use, round=number, feedback=feedback))
    step = find_step(use)
    assert isinstance(step, TableStep)
    config = step.config.model_validate(with_)
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        out = list(step.run(Table(spool, earlier), kit, config))
    lost = Counter(why.reason for _, why in kit.take_gone() if isinstance(why, Rejected))
    assert len({row.id for row in out}) == len(out), "copies are rows of their own"
    assert {row.id for row in out if row.id in row.roots} | {row.roots[0] for row in out} <= {
        row.id for row in rows
    }
    return out, lost, dict(kit.figures)


def column(rows: Sequence[Row], name: str) -> list[Any]:
    return [row.fields[name] for row in rows]


def of(field: str, *values: Any) -> list[Fields]:
    return [{field: value} for value in values]


# --- laws


@settings(max_examples=40, deadline=None)
@given(NUMBERS, st.integers(1, 8), st.booleans())
def test_stages_are_equal_filled_and_in_order(
    values: list[float], count: int, descending: bool
) -> None:
    found = equal_stages(values, count, descending=descending)
    sizes = Counter(found)
    assert sorted(sizes) == list(range(1, min(count, len(values)) + 1))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    edges = sorted({-1.0, 4.0, float(count)})
    for numbers in (found, stages_between(values, edges, descending=descending)):
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        for a, one in zip(values, numbers, strict=True):
            for b, other in zip(values, numbers, strict=True):
                if one < other:
                    assert a >= b if descending else a <= b


SHARES = st.sampled_from([0.0, 0.1, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0])
FEW = st.integers(0, 12)


@settings(max_examples=60, deadline=None)
@given(SHARES, FEW, FEW, FEW, FEW, st.none() | st.integers(1, 40))
def test_a_mixture_is_exact_and_the_largest(
    share: float, hard: int, seeds: int, fixed_hard: int, fixed_seeds: int, most: int | None
) -> None:
    found = mixture(
        share,
        hard=hard,
        seeds=seeds,
        fixed_hard=fixed_hard,
        fixed_seeds=fixed_seeds,
        most=most,
    )

    def fits(h: int, s: int) -> bool:
        n = h + s
        exact = (Fraction(str(share)) * n + Fraction(1, 2)).__floor__()
        return h == exact and (most is None or n <= most)

    possible = [
        h + s
        for h in range(fixed_hard, fixed_hard + hard + 1)
        for s in range(fixed_seeds, fixed_seeds + seeds + 1)
        if fits(h, s)
    ]
    total = found.hard + found.seeds + fixed_hard + fixed_seeds
    assert 0 <= found.hard <= hard
    assert 0 <= found.seeds <= seeds
    assert found.is_exact == bool(possible)
    if possible:
        assert fits(fixed_hard + found.hard, fixed_seeds + found.seeds)
        assert total == max(possible)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 200),
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([0.0, 0.017, 0.083, 0.167, 5.0])),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 20)),
)
def test_quotas_are_exact_whatever_classes_are_empty(
    rows: int, ratios: dict[str, float], sizes: dict[str, int]
) -> None:
    occur = [name for name in ratios if ratios[name] > 0 and sizes.get(name, 0) > 0]
    if not occur:
        with pytest.raises(ValueError, match="no class that occurs"):
            quotas(rows, ratios, sizes)
        return
    found = quotas(rows, ratios, sizes)
    assert list(found) == occur
    assert sum(found.values()) == rows
    total = sum(Fraction(ratios[name]) for name in occur)
    for name, quota in found.items():
        assert abs(quota - rows * Fraction(ratios[name]) / total) < 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.floats(0, 1),
    st.floats(0.1, 100),
)
def test_weights_sum_to_1_have_their_floor_and_their_cap(
    accuracies: list[float], alpha: float, cap: float
) -> None:
    gaps = [gap(each, 1.0, 0.01) for each in accuracies]
    n = len(gaps)
    shares = domain_weights(gaps, alpha=alpha, cap=cap)
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert min(shares) >= (1 - alpha) / n
    # The furthest behind has the most; those beyond the cap are alike.
    of_gaps = [share for _, share in sorted(zip(gaps, shares, strict=True))]
    assert of_gaps == sorted(shares)
    beyond = {share for each, share in zip(gaps, shares, strict=True) if each >= cap}
    assert len(beyond) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 40), st.randoms(use_true_random=False))
def test_rows_are_copied_whole_before_any_is_copied_twice(n: int, wanted: int, rng: Any) -> None:
    times = times_each(range(n), wanted, rng)
    each = [times.get(place, 0) for place in range(n)]
    assert sum(each) == wanted
    assert max(each) - min(each) <= 1


# --- steps


@pytest.mark.parametrize(
    ("with_", "stages"),
    [
        ({}, [1, 3, 2, 3, 1, 2]),
        ({"first": "hard", "stages": 2}, [2, 1, 1, 1, 2, 2]),
        ({"thresholds": [2, 5]}, [1, 3, 2, 3, 1, 2]),
        ({"thresholds": [100]}, [1] * 6),
        ({"first": "hard", "thresholds": [5]}, [2, 1, 2, 1, 2, 2]),
    ],
)
def test_stages_by_difficulty(with_: dict[str, Any], stages: list[int]) -> None:
    rows = of("difficulty", 1, 8, 3, 5, 0.5, 2, None, "hard", True)
    out, lost, figures = run("curriculum.stages", rows, **with_)
    assert [row.fields["stage"] for row in out] == stages
    assert lost == {"no_difficulty": 3}
    assert figures["by"] == "difficulty"
    assert sum(told["rows"] for name, told in figures.items() if name != "by") == 6


def test_confident_first_and_in_order() -> None:
    rows = of("confidence", 0.2, 0.9, 0.9, 0.5)
    out, _, figures = run("curriculum.stages", rows, first="confident", stages=2, order=True)
    assert [(row.fields["stage"], row.fields["order"]) for row in out] == [
        (2, 1),
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    assert figures["stage 1"] == {"rows": 2, "least": 0.9, "most": 0.9}


def test_a_mixture_counts_what_earlier_rounds_have_kept() -> None:
    rows = of("difficulty", *[3] * 20, *[0] * 10, *[None] * 10)
    first, lost, _ = run("curriculum.mix", rows)
    assert len(first) == 40
    assert not lost
    # Of the next round: the same seeds come again, and 30 new rows.
    seeds = [row for row in first if row.fields["difficulty"] != 3]
    again = [dict(row.fields) for row in first] + of("difficulty", *[7] * 30)
    out, lost, figures = run("curriculum.mix", again, earlier=seeds, number=1)
    # 20 seeds are there: 9 hard rows beside them make 0.3 of 29, to the row.
    assert (figures["hard"], figures["seeds"], figures["exact"]) == (9, 20, True)
    assert (len(out), lost) == (29, {"not_in_mixture": 41})
    assert {row.id for row in seeds} <= {row.id for row in out}
    _, lost, figures = run("curriculum.mix", of("difficulty", 9, 1), earlier=seeds, number=2)
    assert (figures["share wanted"], figures["exact"], figures["hard"]) == (0.5, False, 1)


def test_hard_may_be_said_by_a_flag_and_the_share_rises() -> None:
    rows = of("hard", *[True] * 7, *[False] * 7, *[None] * 7)
    out, _, figures = run("curriculum.mix", rows, field="hard", warm_up=0, rows=10)
    assert Counter(row.fields["hard"] is True for row in out) == {True: 3, False: 7}
    assert figures["share"] == 0.3
    shares = [MixSettings().share(number) for number in range(6)]
    assert shares == [None, 0.3, 0.5, 0.7, 0.9, 1.0]


TASKS = of("task", *["Math"] * 6, "Art", "Art", "Cooking", None)


def test_quotas_by_copies_and_by_writing() -> None:
    ratios = {"Math": 0.4, "Art": 0.2, "Law": 0.3, "Others": 0.1}
    out, lost, figures = run("curriculum.quotas", TASKS, ratios=ratios, rows=14)
    # Law has no rows: 0.4, 0.2 and 0.1 of 0.7 are 8, 4 and 2 of 14.
    kept = Counter(row.fields["task"] for row in out)
    assert (kept["Math"], kept["Art"], kept["Cooking"] + kept[None]) == (8, 4, 2)
    assert not lost
    assert (figures["classes without rows"], figures["rows of no class here"]) == (1, 2)
    out, lost, figures = run("curriculum.quotas", TASKS, ratios=ratios, rows=7, by="generate")
    assert (figures["rows"], figures["Math"]["lost"], lost) == (7, 2, {"over_quota": 3})
    assert sum(1 + wanted for wanted in column(out, "wanted")) == 7
    del ratios["Others"]
    out, lost, _ = run("curriculum.quotas", TASKS, ratios=ratios, by="generate")
    assert lost == {"unknown_class": 2, "over_quota": 1}
    assert sum(1 + wanted for wanted in column(out, "wanted")) == 8
    out, lost, _ = run("curriculum.quotas", TASKS, ratios=ratios, by="generate", warm_up=1)
    assert [row.fields["wanted"] for row in out] == [0] * 10
    assert run("curriculum.quotas", [], ratios=ratios)[0] == []
    out, lost, figures = run("curriculum.quotas", TASKS, ratios={"Math": 0, "Others": 1, "Art": 1})
    assert lost == {"unknown_class": 6}, (
        "what has a share of 0 is not wanted, and is no other class"
    )
    assert (len(out), figures["classes without rows"], figures["Others"]["rows"]) == (4, 0, 2)
    # It matters how a class is spelled only where two differ in that alone.
    spelled = of("task", "math", "MATH", "common sense", "e\u0301")
    ratios = {"Math": 1, "MATH": 1, "Common-Sense": 1, "\u00e9": 1}
    out, lost, figures = run("curriculum.quotas", spelled, ratios=ratios, rows=4)
    assert ([figures[name]["rows"] for name in ratios], len(out), lost) == ([1, 1, 1, 1], 4, {})


def dev(**right: float) -> Feedback:
    examples = tuple(
        Example(text="", gold="1", said="1" if n < 10 * share else "0", domain=name)
        for name, share in right.items()
        for n in range(10)
    )
    return Feedback(round=0, scores={}, report={}, examples=examples)


def test_domains_by_the_gap_of_the_last_student() -> None:
    rows = of("domain", *["a"] * 6, *["b"] * 3, "c", None)
    out, lost, figures = run("curriculum.domains", rows)
    assert lost == {"no_domain": 1}
    assert {name: told["share"] for name, told in figures.items()} == dict.fromkeys(
        "abc", pytest.approx(1 / 3, abs=1e-6)
    )
    known = dev(a=0.9, b=0.5)
    out, _, figures = run("curriculum.domains", rows, feedback=known)
    assert figures["b"]["gap"] == 6
    assert figures["c"]["gap"] == 1, "nobody has measured it"
    weights = dict(zip(column(out, "domain"), column(out, "weight"), strict=True))
    assert weights["b"] > weights["a"]
    assert sum(column(out, "weight")) == pytest.approx(10)
    for name, told in figures.items():
        assert weights[name] * told["rows"] / 10 == pytest.approx(told["share"], abs=1e-6)
    out, lost, figures = run(
        "curriculum.domains",
        rows,
        feedback=known,
        give="quotas",
        rows=20,
        teacher_accuracy={"b": 0.5},
    )
    assert len(out) == 20 == sum(told["quota"] for told in figures.values())
    assert figures["b"]["gap"] == 1, "the teacher errs as often"
    out, lost, _ = run(
        "curriculum.domains", rows, student_accuracy={"a": 0, "b": 1, "c": 1}, give="quotas", rows=5
    )
    assert len(out) == 5
    assert lost["over_quota"] >= 3


def test_replay_of_a_few() -> None:
    rows = of("domain", *["math"] * 5, *["code"] * 5, "chat", "chat", None)
    special: dict[str, Any] = {"specialised": ["math", "code"]}
    out, _, figures = run("curriculum.replay", rows, **special, fraction=0.3)
    stages = Counter((row.fields["stage"], row.fields["domain"]) for row in out)
    assert stages[1, "math"] == stages[1, "code"] == 5
    assert stages[2, "math"] + stages[2, "code"] == figures["replayed"] == 3
    assert stages[2, "chat"] == 2
    assert stages[2, None] == 1
    _, _, figures = run("curriculum.replay", rows, **special)
    assert figures["replayed"] == 1, "1/256 of ten rows, rounded up"
    for one_kind in (rows[:10], rows[10:]):
        out, _, _ = run("curriculum.replay", one_kind, **special)
        assert {row.fields["stage"] for row in out} == {1}, "no stage is empty"


@pytest.mark.parametrize(
    ("use", "with_", "said"),
    [
        ("domains", {"student_accuracy": {"a": 1}, "teacher_accuracy": {"b": 1}}, "no row has: b"),
        ("domains", {"student_accuracy": {"a": 1}}, None),
        ("replay", {"specialised": ["b"]}, "no row is specialised"),
        ("replay", {"specialised": ["a", "None"]}, None),
        ("replay", {"specialised": ["a"], "field": "a"}, "no row is specialised"),
    ],
)
def test_names_of_no_row_are_warned_of(use: str, with_: dict[str, Any], said: str | None) -> None:
    _, _, figures = run(f"curriculum.{use}", of("domain", "a", "c"), **with_)
    step = find_step(f"curriculum.{use}")
    assert step.warns is not None
    warnings = list(step.warns(figures))
    assert [said in warning for warning in warnings if said] == [True] * bool(said)
    assert len(warnings) == bool(said)


def test_rows_of_earlier_rounds_are_in_stages_of_theirs() -> None:
    step = find_step("curriculum.stages")
    assert step.warns is not None
    rows = of("difficulty", 1, 2)
    earlier, _, figures = run("curriculum.stages", rows)
    assert not list(step.warns(figures))
    _, _, figures = run("curriculum.stages", rows, earlier=earlier, number=1)
    assert not list(step.warns(figures)), "the same rows again"
    _, _, figures = run("curriculum.stages", rows[:1], earlier=earlier, number=1)
    assert ["gave them: 1;" in warning for warning in step.warns(figures)] == [True]


def test_a_row_without_an_instruction_wants_nothing_that_could_be_written(tmp_path: Path) -> None:
    lines = [
        '{"instruction": "Start with 1, double, add 1: what is the last digit?", "wanted": 2}',
        '{"instruction": " ", "task": "Art", "wanted": 3}',
        '{"instruction": "Start with 2, double: what is the last digit?", "wanted": "3"}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "wanted.yaml").write_text(
        """name: wanted
teachers: {main: {simulated: {world: problems, seed: 5}}}
source: {jsonl: rows.jsonl}
steps: [{use: curriculum.expand, with: {teacher: main, max_similarity: null}}]
"""
    )
    found = Pipeline.load(tmp_path / "wanted.yaml", out="o", ledger="l.db").run_sync()
    assert found.funnel["curriculum.expand"].reasons == {"no_instruction": 1}
    assert found.figures["curriculum.expand"]["accepted"] == 2
    (warning,) = found.warnings
    assert warning.startswith("curriculum.expand: rows whose number of wanted ones is no whole")


@pytest.mark.parametrize(
    ("use", "with_", "said"),
    [
        ("stages", {"stages": 2, "thresholds": [1]}, "both `stages` and `thresholds`"),
        ("stages", {"thresholds": [3, 1]}, "thresholds must ascend"),
        ("quotas", {"ratios": {"Math": 0}}, "at least one must be above 0"),
        ("quotas", {"ratios": {"Math": -1}}, "greater than or equal to 0"),
        ("domains", {"rows": 5}, "rows goes with give: quotas"),
        ("domains", {"cap": 0}, "greater than 0"),
        ("replay", {"specialised": []}, "at least 1 item"),
        ("expand", {"teacher": "a", "shown_made": 1}, "Input should be 0"),
        ("mix", {"start": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense(use: str, with_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        find_step(f"curriculum.{use}").config.model_validate(with_)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(problems.TASKS), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_world_of_problems_solves_what_it_writes(task: str, level: int, rng: Any) -> None:
    found = problems.solve(problems.write(task, level, rng))
    assert found is not None
    assert (found.task, found.level) == (task, level)
    assert found.answer not in found.wrong
    assert found.wrong
    world = problems.Problems()
    text: dict[str, Any] = {"instruction": problems.write(task, level, rng), "criteria": None}
    right = world.answer("respond/stepwise", text, rng)
    good, bad = (
        world.answer("judges/digit", {**text, "candidate": answer}, rng)
        for answer in (right, "Answer: none")
    )
    assert int(good) > int(bad)
    shown: dict[str, Any] = {"instructions": [text["instruction"]], "first": 2, "n": 3}
    new = world.answer("instruct/expand", shown, rng).splitlines()
    assert [line.split(".")[0] for line in new] == ["2", "3", "4"]
    like = [problems.solve(line.partition(". ")[2]) for line in new]
    assert all(one and one.task == task and level <= one.level <= level + 1 for one in like)


def test_quotas_are_tapirs_unless_others_are_named() -> None:
    config: Any = find_step("curriculum.quotas").config
    shares = config.model_validate({}).shares
    assert len(shares) == 32
    assert sum(shares.values()) == pytest.approx(1)
    assert config.model_validate({"tasks": ["a", "b"]}).shares == {"a": 0.5, "b": 0.5}


async def test_the_answer_in_a_reply() -> None:
    step = find_step("gate.answer")
    assert isinstance(step, Step)
    config = step.config.model_validate({"answer": {"type": "number"}})
    for output, said in {"2 + 3 = 5\nAnswer: 5": "5", "Five, I think.": None}.items():
        row = source_row("s", [0], ordinal=0, fields={"output": output})
        kit = Kit(Desk(step="gate.answer"), row.id)
        if said is None:
            with pytest.raises(Rejected, match="no_cue"):
                [one async for one in step.run(row, kit, config)]
        else:
            (one,) = [one async for one in step.run(row, kit, config)]
            assert one.fields["answer"] == said


def test_the_card_says_what_is_learnt_when_and_how_much_it_counts(tmp_path: Path) -> None:
    lines = [
        f'{{"t": "row {n}", "difficulty": {n}, "domain": "{n % 3}", "weight": 61}}'
        for n in range(9)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "plain.yaml").write_text("name: plain\nsource: {jsonl: rows.jsonl}\n")
    steps = """steps:
  - {use: curriculum.stages, with: {first: hard, stages: 2, order: true}}
  - {use: curriculum.domains, with: {student_accuracy: {"0": 0.5, "1": 0.9}}}
"""
    (tmp_path / "planned.yaml").write_text(f"name: planned\nsource: {{jsonl: rows.jsonl}}\n{steps}")
    for name in ("plain", "planned"):
        Pipeline.load(tmp_path / f"{name}.yaml", out=name, ledger=f"{name}.db").run_sync()
    plain, card = (
        (tmp_path / name / "dataset" / "README.md").read_text(encoding="utf-8")
        for name in ("plain", "planned")
    )
    assert "Curriculum" not in plain, "a weight that nobody obeys may be anything"
    assert '- `curriculum.stages`: `{"first":"hard","stages":2,"order":true}`' in card
    assert "  - 1: 5 rows\n  - 2: 4 rows\n" in card
    assert "- `order`: 9 rows have a place in their stage" in card
    assert "- `weight`: the loss of a row counts 0." in card
