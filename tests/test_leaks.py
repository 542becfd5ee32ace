from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import LinearConfig, SftConfig
from synthkd.errors import NothingToLearn
from synthkd.leaks import contamination_told, leaks, leaks_among
from synthkd.plan import compile_plan
from synthkd.rows import Json, Row
from synthkd.students.lesson import HeldOutRow

CONFIG = LinearConfig(kind="linear", text="text", label="label")
STORY = (
    "On Monday a farmer sold nine eggs for two dollars each and on Tuesday she sold twice as many"
    " eggs for half the price; how many dollars did the farmer earn on both days together?"
)


def row(number: int, **fields: Any) -> Row:
    return Row(f"{number:016x}", (number,), (), {"label": "x", **fields})


def held_out(*texts: str) -> list[HeldOutRow]:
    return [HeldOutRow(id=str(n), side="test", text=t, gold=None) for n, t in enumerate(texts)]


def found(texts: Sequence[str], *held: str) -> Mapping[int, str]:
    """Which texts leak, and how."""
    rows = [row(number, text=text) for number, text in enumerate(texts)]
    return {int(leak.row, 16): leak.how for leak in leaks(CONFIG, rows, held_out(*held))}


def test_the_same_text_leaks_however_it_is_written() -> None:
    assert found(["WHERE  is my card?", "where is my card"], "Where is my card?") == {
        0: "the same text"
    }


def test_the_whole_of_a_long_text_leaks_and_a_shared_part_does_not() -> None:
    begun = "Here is a task. " + STORY.upper().replace(";", " -")
    half = STORY[: len(STORY) // 2] + " and then she went home to her family and slept until noon."
    how = found([begun, half], STORY)
    assert list(how) == [0]
    assert "runs of 13 words" in how[0]


def test_set_phrases_and_few_words_are_no_leak() -> None:
    form = "Please read the following message of a customer and name what it is about in one word:"
    assert found([f"{form} rate"], *(f"{form} {word}" for word in ("a", "b", "c", "d"))) == {}
    assert found(["I said that my card is lost"], "my card is lost") == {}


def test_conversations_are_looked_into() -> None:
    config = SftConfig(kind="sft", messages="chat", base="x")
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": STORY}]
    assert [leak.row for leak in leaks(config, [row(7, chat=chat)], held_out(STORY))]


def test_leaks_are_refused_or_said() -> None:
    rows = [row(3, text="where is my card")]
    with pytest.raises(
        NothingToLearn, match=r"1 rows are the same.*0003 has test row 0.*allow_lea"
    ):
        leaks_among(CONFIG, rows, held_out("Where is my card"))
    allowed = CONFIG.model_copy(update={"allow_leaks": True})
    assert "1 rows are the same" in (leaks_among(allowed, rows, held_out("where is my card")) or "")
    assert leaks_among(CONFIG, rows, held_out("another text")) == "none of 1 held-out rows"
    assert leaks_among(CONFIG, rows, []) is None


def test_a_few_twins_are_said_and_many_refused() -> None:
    rows, others = [row(3, text=f"So: {STORY}")], [f"text number {n}" for n in range(99)]
    said = leaks_among(CONFIG, rows, held_out(STORY, *others))
    assert said is not None
    assert "1 of 100 held-out rows stand nearly whole in 1 others" in said
    with pytest.raises(NothingToLearn, match="runs of 13 words"):
        leaks_among(CONFIG, rows, held_out(STORY, *others[:-1]))


def test_what_a_step_has_thrown_out_is_told_beside_what_the_check_found(tmp_path: Path) -> None:
    (tmp_path / "exam.jsonl").write_text('{"question": "how many"}\n')
    steps = [
        {
            "use": "decontaminate",
            "name": name,
            "with": {
                "field": "text",
                "benchmarks": [{"jsonl": "exam.jsonl", "field": "question"}],
                "action": action,
            },
        }
        for name, action in (("clean", "drop"), ("look", "flag"))
    ]
    raw = {"name": "x", "source": {"jsonl": "rows.jsonl"}, "steps": steps}
    plan = compile_plan(raw, tmp_path / "x.yaml")
    noted: dict[str, Json] = {"exam": {"items": 9, "items_found": 2, "rows": 3}}
    figures = {"clean": {"benchmarks": noted}, "look": {"benchmarks": noted}}
    assert contamination_told(plan, {}, {}) == "not checked"
    about = {"made_from": {"leaks": "none of 5 held-out rows"}}
    assert contamination_told(plan, {}, about) == "none of 5 held-out rows"
    assert contamination_told(plan, figures, about) == (
        "clean: 3 rows dropped, with 2 of 9 items of exam; look: 3 rows flagged, with 2 of 9 items"
        " of exam; none of 5 held-out rows"
    )
