"""A compiled plan: segments, what each step needs, and every fault of the wiring at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd import steps
from synthkd.errors import ConfigError
from synthkd.io.spool import Table
from synthkd.plan import BoundTableStep, Plan, asked_step, compile_plan, gold_field
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, TableKit, find_step, step, table_step
from synthkd.teachers.concurrency import CEILING
from synthkd.wiring import check_wiring

ENDPOINT = {"endpoint": "http://127.0.0.1:9/v1", "model": "m"}
LABEL = {"teacher": "main", "labels": ["a", "b"]}


class Named(StepSettings):
    teacher: Any = None
    teachers: Any = None


@pytest.fixture(autouse=True, scope="module")
def plain_steps() -> Iterator[None]:
    """`plain`, a row step that needs x and gives y, `whole`, a table step, and `named`."""

    @step("plain", needs=["x"], gives=["y"])
    async def plain(row: Row, kit: Kit, config: StepSettings, /) -> AsyncIterator[Row]:
        yield row

    @table_step("whole", needs=["y"])
    def whole(table: Table, kit: TableKit, config: StepSettings, /) -> Iterator[Row]:
        yield from table

    @step("named")
    async def named(row: Row, kit: Kit, config: Named, /) -> AsyncIterator[Row]:
        yield row

    yield
    for name in ("plain", "whole", "named"):
        del steps._registry[name]


class Asking(StepSettings):
    prompt: str = "judges/digit"


def raw(*entries: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "teachers": {"main": ENDPOINT},
        "source": {"jsonl": "rows.jsonl"},
        "steps": list(entries),
        **changes,
    }


def compiled(*entries: Mapping[str, Any], **changes: Any) -> Plan:
    return compile_plan(raw(*entries, **changes), Path("p.yaml"))


def faults_of(*entries: Mapping[str, Any], **changes: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        compiled(*entries, **changes)
    return caught.value.faults


def wiring_of(plan: Plan, *columns: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        check_wiring(plan, columns)
    return caught.value.faults


# What a plan is


@given(st.lists(st.sampled_from(["plain", "whole"]), max_size=8))
def test_segments_are_the_steps_cut_behind_each_table(names: list[str]) -> None:
    plan = compiled(*({"use": name, "name": f"s{i}"} for i, name in enumerate(names)))
    segments = plan.segments
    put_together = [bound for s in segments for bound in (*s.rows, *([s.table] if s.table else []))]
    assert tuple(put_together) == plan.steps
    assert [bound.rank for bound in put_together] == list(range(len(names)))
    assert len(segments) == names.count("whole") + 1
    assert [s.table is None for s in segments] == [False] * names.count("whole") + [True]
    assert not any(isinstance(bound, BoundTableStep) for s in segments for bound in s.rows)


def test_a_step_needs_what_it_declares_and_what_its_prompt_reads() -> None:
    label, rationale = compiled(
        {"use": "label", "with": LABEL},
        {"use": "rationale", "with": {"teacher": "main", "gold": "answer"}},
    ).steps
    assert label.needs == ("text",)  # `labels` is supplied by the step, and `reason` too
    assert {"question", "answer"} <= set(rationale.needs)
    assert label.prompts.keys() == {"label/classify"}


def test_what_a_table_step_supplies_to_its_prompt_is_needed_of_no_row() -> None:
    @table_step("asking", needs=["x"], supplies=["candidate"])
    def asking(table: Table, kit: TableKit, config: Asking, /) -> Iterator[Row]:
        yield from table

    try:
        assert compiled({"use": "asking"}).step("asking").needs == ("x", "question")
    finally:
        del steps._registry["asking"]


def test_a_file_that_a_step_names_is_looked_at_with_the_plan(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("a,b\n1,2\n", encoding="utf-8")
    against = [
        {"csv": str(old), "field": "a"},
        {"csv": str(old), "field": "q"},
        {"jsonl": "none.jsonl", "field": "q"},
    ]
    wrong_field, no_file = faults_of(
        {"use": "dedup.minhash", "with": {"field": "x", "against": against}}
    )
    assert (
        "steps[0].with: against[1]: old.csv has no field 'q'; its fields are: a, b" in wrong_field
    )
    assert "steps[0].with: against[2]: none.jsonl: no such file" in no_file


@pytest.mark.parametrize(
    ("concurrency", "in_flight", "expected"),
    [(5, None, 5), ("auto", None, CEILING), (5, 2, 2)],
)
def test_rows_in_flight_follow_the_teachers_unless_they_are_set(
    concurrency: object, in_flight: int | None, expected: int
) -> None:
    entry: dict[str, Any] = {"use": "label", "with": LABEL}
    if in_flight is not None:
        entry["in_flight"] = in_flight
    plan = compiled(
        entry, {"use": "plain"}, teachers={"main": {**ENDPOINT, "concurrency": concurrency}}
    )
    assert [bound.in_flight for bound in plan.steps] == [expected, 1]


def test_a_prompt_beside_the_pipeline_comes_before_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "prompts" / "label" / "classify.md.j2"
    own.parent.mkdir(parents=True)
    own.write_text("---\ninputs: [mine]\n---\n{# user #}\n{{ mine }}\n", encoding="utf-8")
    [bound] = compile_plan(raw({"use": "label", "with": LABEL}), tmp_path / "p.yaml").steps
    assert bound.needs == ("mine",)


# Faults that need no source


def test_every_fault_of_a_file_comes_at_once() -> None:
    faults = faults_of(
        {"use": "lable"},
        {"use": "label", "with": {"teacher": "main"}},
        {"use": "generate", "with": {"teacher": "man"}},
        {"use": "generate", "name": "again", "with": {"teacher": "main", "prompt": "nowhere"}},
        limits={"max_failed": 2},
    )
    told = "\n".join(faults)
    for says in (
        "p.yaml: limits.max_failed: ",
        "p.yaml: steps[0].use: there is no step 'lable'; did you mean label",
        "p.yaml: steps[1].with.labels: field required",
        "p.yaml: steps[3].with.prompt: there is no prompt 'nowhere'",
    ):
        assert says in told


def test_an_unknown_teacher_lists_those_there_are() -> None:
    [fault] = faults_of({"use": "generate", "with": {"teacher": "man"}})
    assert fault == "p.yaml: steps[0].with: no teacher is named 'man'; there are: main"
    [fault] = faults_of({"use": "generate", "with": {"teacher": "man"}}, teachers={})
    assert fault.endswith("there are: none")


def test_a_setting_called_teacher_that_names_none_is_one_clear_fault() -> None:
    for with_ in ({"teacher": {"a": 0.5}}, {"teacher": 3}, {"teachers": [["a"]]}):
        [fault] = faults_of({"use": "named", "with": with_})
        assert f"steps[0].with: {next(iter(with_))} must name teachers, got " in fault
    assert not compiled({"use": "named"}).steps[0].teachers


def test_a_recorded_teacher_must_find_its_match_in_the_prompt() -> None:
    recorded = {"recorded": {"jsonl": "a.jsonl", "match": ["text", "no"], "text": "answer"}}
    [fault] = faults_of({"use": "label", "with": LABEL}, teachers={"main": recorded})
    assert fault.startswith("p.yaml: teachers.main.recorded.match: the prompt 'label/classify'")
    assert "has no input 'no'; its inputs are: " in fault


HOLDOUT = {"jsonl": "rows.jsonl", "holdout": {"test": 0.2, "by": ["text"]}}


@pytest.mark.parametrize(
    ("evaluate", "source", "says"),
    [
        ({"gold": "g"}, {"jsonl": "r"}, "source.holdout sets no test rows aside"),
        ({"gold": "g", "on": "dev"}, HOLDOUT, "source.holdout sets no dev rows aside"),
        ({}, HOLDOUT, "evaluate.gold is missing"),
        ({"gold": "g", "ask": "whole"}, HOLDOUT, "'whole' asks no teacher"),
        ({"gold": "g", "ask": "plain"}, HOLDOUT, "'plain' asks no teacher"),
        ({"gold": "g", "ask": "generate"}, HOLDOUT, "makes several rows of one"),
        ({"gold": "g", "ask": "s3ft"}, HOLDOUT, "'s3ft' makes its rows out of gold"),
    ],
)
def test_an_evaluation_that_cannot_be_held(
    evaluate: Mapping[str, Any], source: Mapping[str, Any], says: str
) -> None:
    [fault] = faults_of(
        {"use": "plain"},
        {"use": "whole"},
        {"use": "generate", "with": {"teacher": "main", "samples": 2}},
        {"use": "s3ft", "with": {"student": "main", "gold": "g"}},
        evaluate=evaluate,
        source=source,
    )
    assert says in fault


@pytest.mark.parametrize(
    ("evaluate", "source", "says"),
    [
        ({"gold": "g"}, HOLDOUT, "student.best_by is measured on rows held out as dev"),
        (None, {**HOLDOUT, "holdout": {"dev": 0.2, "by": ["text"]}}, "needs `evaluate.gold`"),
    ],
)
def test_a_best_checkpoint_that_could_not_be_told(
    evaluate: Mapping[str, Any] | None, source: Mapping[str, Any], says: str
) -> None:
    student = {"kind": "encoder", "text": "t", "label": "l", "scratch": {}, "best_by": "accuracy"}
    [fault] = faults_of({"use": "plain"}, evaluate=evaluate, source=source, student=student)
    assert says in fault


def test_gold_is_that_of_the_step_that_is_asked() -> None:
    entry = {"use": "rationale", "with": {"teacher": "main", "gold": "answer"}}
    plan = compiled(entry, evaluate={"ask": "rationale"}, source=HOLDOUT)
    assert gold_field(plan) == "answer"
    assert "answer" in plan.step("rationale").needs
    assert "answer" not in asked_step(plan, "rationale").needs
    other = compiled(entry, evaluate={"ask": "rationale", "gold": "other"}, source=HOLDOUT)
    assert gold_field(other) == "other"
    assert gold_field(compiled(entry)) is None


# Faults that need the source's fields


def test_a_step_may_need_what_the_source_has_or_an_earlier_step_gives() -> None:
    plan = compiled({"use": "plain"}, {"use": "whole"})
    check_wiring(plan, ["x"])
    check_wiring(compiled({"use": "whole"}), ["y"])
    [fault] = wiring_of(compiled({"use": "whole"}, {"use": "plain"}), "x")
    assert fault == "p.yaml: steps[0] (whole) needs the field 'y'; there are: x"


def test_a_near_field_is_named() -> None:
    [fault] = wiring_of(compiled({"use": "label", "with": LABEL}), "texts", "id")
    assert fault == "p.yaml: steps[0] (label) needs the field 'text'; did you mean texts?"


def test_every_part_that_reads_a_field_is_checked_and_told_at_once() -> None:
    plan = compiled(
        {"use": "plain"},
        {"use": "label", "with": LABEL},
        export={"format": "messages", "prompt": "p", "completion": "c", "system": "s", "keep": []},
        student={"kind": "linear", "text": "t", "label": "l"},
        evaluate={"gold": "g", "ask": "label"},
        source=HOLDOUT,
    )
    told = wiring_of(plan, "unrelated")
    places = [fault.partition(" needs the field ")[0].removeprefix("p.yaml: ") for fault in told]
    assert places == [
        "steps[0] (plain)",
        "steps[1] (label)",
        "export.prompt",
        "export.completion",
        "export.system",
        "student.text",
        "student.label",
        "evaluate.gold",
        "student.text",
        "evaluate.ask (label), which sees the fields of the source without gold,",
    ]


def test_what_a_step_gives_is_there_for_the_dataset_but_not_for_held_out_rows() -> None:
    plan = compiled(
        {"use": "plain"},
        export={"keep": ["y"]},
        evaluate={"gold": "y"},
        source=HOLDOUT,
    )
    [fault] = wiring_of(plan, "x", "text")
    assert "evaluate.gold needs the field 'y'" in fault


def test_the_names_of_builtin_steps_can_be_planned() -> None:
    assert compiled({"use": "dedup.exact", "with": {"field": "x"}}).steps[0].step is find_step(
        "dedup.exact"
    )
