from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.config import HoldoutConfig
from synthkd.curate.exemplars import ExemplarsConfig, exemplars
from synthkd.desk import Desk
from synthkd.errors import UserError
from synthkd.io.sources import side_of
from synthkd.io.spool import RowSpool, Table
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit

WORKED = [
    {"question": "How many apples are in three bags of four?", "rationale": "r1", "answer": "12"},
    {"question": "When does the train to Oslo leave?", "rationale": "r2", "answer": "at noon"},
    {"question": "How many pears are in two bags of five?", "rationale": "r3", "answer": "10"},
    {"question": "Which colour has the sky?", "rationale": "r4", "answer": "blue"},
]


class Given:
    """The step run on rows with these questions."""

    def __init__(
        self,
        questions: Sequence[Json],
        worked: Sequence[Mapping[str, Json]] = WORKED,
        holdout: HoldoutConfig | None = None,
        **more: Any,
    ) -> None:
        Path("worked.jsonl").write_text("\n".join(map(json.dumps, worked)), encoding="utf-8")
        config = ExemplarsConfig.model_validate(
            {"jsonl": "worked.jsonl", "field": "question", "count": 2, **more}
        )
        desk = Desk(step="exemplars", holdout=holdout, work=Path("work"), vectors=Path("kept"))
        self.kit = TableKit(desk)
        rows = [
            source_row("rows", [i], ordinal=i, fields={"question": one})
            for i, one in enumerate(questions)
        ]
        with RowSpool.of(Path("rows.spool"), rows) as spool:
            made = [*exemplars(Table(spool), self.kit, config)]
            self.lost = [
                (row.fields["question"], getattr(why, "reason", str(why)))
                for row, why in self.kit.take_gone()
            ]
        self.kit.close()
        self.shown: dict[Any, Any] = {
            row.fields["question"]: row.fields["exemplars"] for row in made
        }

    def answers(self, question: str) -> list[str]:
        return [one["answer"] for one in self.shown[question]]


def test_the_nearest_are_shown_and_the_nearest_of_them_last() -> None:
    asked = "How many plums are in two bags of five?"
    given = Given([asked, "Which train leaves for Oslo?"])
    assert given.answers(asked) == ["12", "10"]
    assert given.answers("Which train leaves for Oslo?")[-1] == "at noon"
    assert given.kit.figures["exemplars"] == 4


def test_fixed_are_the_first_of_the_file_for_every_row() -> None:
    given = Given(["a", "b"], pick="fixed", keep=["question", "answer"])
    assert given.answers("a") == given.answers("b") == ["12", "at noon"]
    assert {*given.shown["a"][0]} == {"question", "answer"}


@pytest.mark.parametrize("pick", ["nearest", "fixed"])
def test_a_row_never_sees_itself(pick: str) -> None:
    own = " HOW many apples are in three  bags of four?"
    given = Given([own], pick=pick, count=4)
    assert sorted(given.answers(own)) == ["10", "at noon", "blue"]
    assert given.kit.figures["rows that are an exemplar"] == 1
    alone = Given([own, "b"], worked=WORKED[:1], pick=pick)
    assert alone.lost == [(own, "no_exemplar")]


def test_what_is_held_out_is_never_shown() -> None:
    holdout = HoldoutConfig(dev=0.3, test=0.3, by=["question"])
    sides = {str(one["answer"]): side_of([one["question"]], holdout) for one in WORKED}
    train = {answer for answer, side in sides.items() if side == "train"}
    assert 0 < len(train) < 4
    given = Given(["a", "b"], holdout=holdout, count=4, pick="fixed")
    assert {*given.answers("a")} == train
    assert given.kit.figures["left out: held out"] == 4 - len(train)


@pytest.mark.parametrize(
    ("worked", "more", "fault"),
    [
        ([], {}, "no field 'question'; its fields are: none"),
        ([{"question": " "}], {}, "no exemplar is left to show: 1 without text"),
        ([{"q": "x"}], {}, "no field 'question'"),
        ([{"question": "x"}], {"keep": ["rationale"]}, "record 1 has no field 'rationale' to keep"),
        (
            [{"question": "x"}],
            {"holdout": HoldoutConfig(test=0.1, by=["id"])},
            "record 1 has no field 'id', by which source.holdout",
        ),
        (
            [{"question": "x"}],
            {"holdout": HoldoutConfig(test=0.999999, by=["question"])},
            "no exemplar is left to show: 1 held out",
        ),
    ],
)
def test_a_file_that_is_no_use(
    worked: Sequence[Mapping[str, Json]], more: Mapping[str, Any], fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        Given(["a"], worked=worked, **more)


def test_rows_without_text_are_lost_with_the_reason_and_doubles_are_one() -> None:
    given = Given([7, "b"], worked=[*WORKED, WORKED[0]], pick="fixed")
    assert given.lost == [(7, "no_text")]
    assert given.kit.figures["left out: said before"] == 1


def test_the_file_is_looked_at_before_anything_is_spent() -> None:
    config = ExemplarsConfig(jsonl="nowhere.jsonl", field="question")
    (fault,) = config.faults(Path())
    assert "nowhere.jsonl" in fault


def test_they_stand_before_the_question_in_the_shipped_prompt() -> None:
    prompt = load_prompt("rationale/few_shot", folders=[shipped_folder("prompts")])
    (_, asked) = prompt.render({"question": "And now?", "exemplars": WORKED[:1]})
    assert asked["content"] == (
        "Q: How many apples are in three bags of four?\nA: r1 So the answer is 12.\n\n"
        "Q: And now?\nA:"
    )


texts = st.lists(st.text("ab ", min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=15)
@given(texts, texts, st.integers(1, 3))
def test_the_same_in_every_run_and_never_oneself(
    worked: list[str], asked: list[str], count: int
) -> None:
    records = [{"question": text, "answer": str(n)} for n, text in enumerate(worked)]
    if not any(text.strip() for text in worked):
        return
    runs = [Given(asked, worked=records, count=count) for _ in range(2)]
    assert runs[0].shown == runs[1].shown
    assert runs[0].lost == runs[1].lost
    for question, shown in runs[0].shown.items():
        assert 1 <= len(shown) <= count
        own = " ".join(str(question).split())
        assert own not in {" ".join(one["question"].split()) for one in shown}
