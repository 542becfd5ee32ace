"""The other measures: IFD and its tokens, the student's pass rate, judge, agreement, residual."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import TeacherConfig
from synthkd.curate.difficulty.ifd import IfdSettings, Losses, compared, ratio
from synthkd.curate.difficulty.pass_rate import PassRateSettings
from synthkd.curate.difficulty.residual import ResidualSettings, residual
from synthkd.desk import Desk
from synthkd.errors import Rejected, RequestRefused, RowError, Unanswered
from synthkd.io.spool import RowSpool, Table
from synthkd.recipes.spread import with_spread
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit
from synthkd.teachers.request import Completion, Logprob, Request, Usage
from tests.curate.choose.choosing import one
from tests.curate.difficulty.measuring import Measured, measure
from tests.curate.judges.asking import Voice, always, said, scored

# --- IFD

ROW = {"instruction": "Say where", "input": "France", "output": "Paris it is"}
IFD = {"teacher": "small"}


def small(loss_given: float, loss_alone: float, *, bos: bool = False) -> Voice:
    """Each word of an answer has one loss after the prompt, and another one by itself."""

    def voice(request: Request) -> Completion:
        text = str(request.body.get("prompt", ""))
        words, loss = text.split(), loss_alone
        if text.startswith(str(ROW["instruction"])):
            loss = loss_given
        told: list[Any] = [
            {str(place): {"logprob": -loss, "decoded_token": word}}
            for place, word in enumerate(words)
        ]
        places = [None, *told] if bos else [None, *told[1:]]
        reply = json.dumps({"choices": [{}], "prompt_logprobs": places}).encode()
        return Completion("", "length", Usage(), reply)

    return voice


async def ifd(given: float, alone: float, *, bos: bool = False, **settings: Any) -> Measured:
    voices = {"small": small(given, alone, bos=bos)}
    return await measure("difficulty.ifd", {**IFD, **settings}, ROW, voices)


async def test_the_loss_that_the_instruction_leaves() -> None:
    done = await ifd(1.0, 2.0, bos=True)
    assert done.fields["difficulty"] == 0.5
    assert done.fields["difficulty_parts"] == {
        "by": "difficulty.ifd", "scale": "loss", "loss_given": 1.0, "loss_alone": 2.0, "tokens": 3
    }  # fmt: skip
    assert done.figures["tokens left out of one pass"] == 0
    prompts = [request.body["prompt"] for request in done.teachers["small"].asked]
    assert "Say where\n\nFrance\nParis it is" in prompts
    assert "Paris it is" in prompts
    other = await ifd(1.0, 2.0, scale="perplexity")
    assert other.fields["difficulty"] == pytest.approx(math.exp(-1))
    assert other.fields["difficulty_parts"]["scale"] == "perplexity"
    # Without a token that begins every text the first one has no probability: it is left out.
    assert other.fields["difficulty_parts"]["tokens"] == 2
    assert other.figures["tokens left out of one pass"] == 1


async def test_rows_that_no_ifd_can_be_told_of() -> None:
    with pytest.raises(Rejected, match="instruction_does_not_help: loss 2 with"):
        await ifd(2.0, 2.0)
    assert (await ifd(4.0, 2.0, helps=False)).fields["difficulty"] == 2.0
    far = await ifd(40.0, 2.0, helps=False, scale="perplexity")
    assert far.figures["difficulty"]["histogram"] == {"5": 1}  # and all that is farther out
    with pytest.raises(RowError, match="certain to the model"):
        await ifd(0.0, 0.0, helps=False)
    for row, reason in (
        ({**ROW, "output": " "}, "empty_output"),
        ({**ROW, "finish": "length"}, "cut"),
    ):
        voices = {"small": small(1, 2)}
        with pytest.raises(Rejected, match=reason):
            await measure("difficulty.ifd", {**IFD, "finish": "finish"}, row, voices)
    with pytest.raises(Rejected, match="no_likelihood: HTTP 400: too long"):
        await measure(
            "difficulty.ifd", IFD, ROW, {"small": lambda _: RequestRefused(400, "too long")}
        )
    nobody = await measure("difficulty.ifd", IFD, ROW, {"small": small(1, 2)}, missing="small")
    assert nobody.fields["difficulty"] is None


def tokens(text: str, loss: float = 1.0) -> list[Logprob]:
    return [Logprob(token, -loss) for token in text.split("|")]


@pytest.mark.parametrize(
    ("given", "alone", "n"),
    [
        ("a|b|c", "a|b|c", 3),
        ("a|b|c|<end>", "a|b|c", 3),  # the end of the turn is in one pass alone
        ("a|b|c|<end>|\n", "b|c", 2),  # and the first token of a text has no probability
        ("\u2581a|b|c", "a|b|c", 2),  # written otherwise at the beginning of a text
        ("x|y|a|b|c", "a|b|c", 3),
        ("x|y|z|a|b", "a|b", None),  # three tokens more: not the same text
        ("a|b|c", "a|b|d", None),
        ("a|b", "c|d|a", None),
    ],
)
def test_both_passes_are_about_the_same_tokens(given: str, alone: str, n: int | None) -> None:
    found = compared(tokens(given), tokens(alone, 2.0))
    assert found == (None if n is None else Losses(1.0, 2.0, n))


LOSS = st.floats(0.01, 20).map(lambda loss: round(loss, 3))


@given(LOSS, LOSS, LOSS)
def test_more_loss_with_the_instruction_is_harder_on_both_scales(
    alone: float, less: float, more: float
) -> None:
    less, more = sorted((less, more))
    scales: tuple[Literal["loss", "perplexity"], ...] = ("loss", "perplexity")
    for scale in scales:
        found = [ratio(Losses(loss, alone, 3), scale) for loss in (less, more)]
        assert found[0] <= found[1]
        assert (found[0] < 1) == (less < alone)


def test_who_cannot_tell_is_refused_by_the_plan() -> None:
    config = IfdSettings(teacher="t")
    for block, fault in (
        ({"simulated": {"world": "arithmetic"}}, "is simulated and cannot say"),
        ({"endpoint": "http://127.0.0.1:1/v1", "model": "m", "mode": "batch"}, "in batches"),
        ({"student": {"folder": "x"}}, ""),
    ):
        faults = list(config.teacher_faults({"t": TeacherConfig.model_validate(block)}))
        assert len(faults) == bool(fault)
        assert all(fault in one for one in faults)


# --- pass rate

SUM = {"question": "2 + 3?", "gold": "5"}
RATE = {
    **{"student": "own", "gold": "gold", "question": "question", "samples": 4},
    "answer": {"type": "number"},
}


async def test_the_share_of_wrong_tries() -> None:
    replies = ["The answer is 5.", "The answer is 6.", "The answer is 5.0", "Well."]
    done = await measure("difficulty.pass_rate", RATE, SUM, {"own": always(*replies)})
    assert done.fields["difficulty"] == 0.5
    parts = done.fields["difficulty_parts"]
    assert (parts["right"], parts["tries"], len(done.teachers["own"].asked)) == (2, 4, 4)
    assert parts["answers"][0] == {"answer": "5", "times": 2}
    assert done.figures["tries without an answer that could be read"] == 1
    assert done.figures["difficulty"]["histogram"] == {"0.5": 1}
    lost: list[Any] = ["The answer is 5.", Unanswered("503"), Unanswered("503"), Unanswered("503")]
    once = await measure("difficulty.pass_rate", RATE, SUM, {"own": always(*lost)})
    assert once.fields["difficulty"] == 0.0  # what nobody answered is no try
    with pytest.raises(Unanswered):
        await measure("difficulty.pass_rate", RATE, SUM, {"own": always(Unanswered("503"))})
    refused = said("", refusal="No.")  # says nothing of how hard it is
    mixed = always("The answer is 5.", "The answer is 6.", refused, refused)
    half = await measure("difficulty.pass_rate", RATE, SUM, {"own": mixed})
    assert half.fields["difficulty"] == 0.5
    with pytest.raises(Rejected, match="refused"):
        await measure("difficulty.pass_rate", RATE, SUM, {"own": always(refused)})


async def test_tries_may_be_in_the_row() -> None:
    settings = {**RATE, "student": None}
    pool = [one("a", "5"), one("a", "4", sample=1), one("b", None), one("c", "5", status="failed")]
    done = await measure("difficulty.pass_rate", settings, {**SUM, "candidates": pool})
    assert done.fields["difficulty"] == pytest.approx(2 / 3)
    with pytest.raises(Rejected, match="no_candidate"):
        await measure("difficulty.pass_rate", settings, {**SUM, "candidates": pool[3:]})
    for gold, reason in ((None, "no_gold"), ("some", "bad_gold")):
        with pytest.raises(Rejected, match=reason):
            await measure("difficulty.pass_rate", settings, {**SUM, "gold": gold})
    with pytest.raises(ValidationError, match="2 or more"):
        PassRateSettings.model_validate({**RATE, "samples": 1})
    voices = {"own": always("5")}
    nobody = await measure("difficulty.pass_rate", RATE, SUM, voices, missing="own")
    assert (nobody.fields["difficulty"], nobody.figures) == (None, {"no student yet": 1})


# --- judge, agreement, residual


async def test_a_judge_of_the_instruction_alone() -> None:
    voices = {"main": always(scored(difficulty=7), "Well.", said("", refusal="No."))}
    settings = {"teacher": "main", "samples": 3, "structured": False}
    done = await measure("difficulty.judge", settings, ROW, voices)
    assert done.fields["difficulty"] == 7.0
    assert done.fields["difficulty_parts"]["scores"] == {"difficulty": 7.0}
    assert [reason for reason, _ in done.kit.discards] == ["no_verdict", "refused"]
    shown = str(done.teachers["main"].asked[0].body["messages"])
    assert "Length by itself makes nothing harder" in shown
    assert "Paris" not in shown  # nor the answer
    with pytest.raises(Rejected, match="off_scale"):
        await measure("difficulty.judge", settings, ROW, {"main": always(scored(difficulty=0))})
    with pytest.raises(Rejected, match="too_easy"):
        await measure("difficulty.judge", {**settings, "keep_at_least": 7.5}, ROW, voices)


async def test_where_candidates_disagree() -> None:
    pool = [one("a", "5"), one("b", "5.0"), one("c", "4"), one("d", None)]
    row: dict[str, Json] = {"question": "2 + 3?", "candidates": pool}
    settings = {"question": "question", "answer": {"type": "number"}, "into": "hard"}
    done = await measure("difficulty.agreement", settings, row)
    assert done.fields["hard"] == 0.5
    assert done.fields["hard_parts"] == {
        "by": "difficulty.agreement", "answer": "5", "agree": 2, "candidates": 4, "answers": 2
    }  # fmt: skip
    with pytest.raises(Rejected, match="no_candidate"):
        await measure("difficulty.agreement", settings, {**row, "candidates": pool[3:]})


def left_of(rows: list[dict[str, Any]], folder: Path) -> tuple[list[Any], TableKit]:
    kit = TableKit(Desk(step="difficulty.residual"))
    made = [source_row("s", [n], ordinal=n, fields=row) for n, row in enumerate(rows)]
    with RowSpool.of(folder / "r", made) as spool:
        out = [row.fields for row in residual(Table(spool), kit, ResidualSettings())]
    return [fields["difficulty"] for fields in out], kit


def test_what_length_explains_goes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"instruction": "x" * 2**power, "difficulty": power + other}
        for power in range(1, 7)
        for other in (0.0, 3.0)
    ]
    unmeasured: dict[str, Any] = {"instruction": "x", "difficulty": None}
    blank = {"instruction": " ", "difficulty": 2.0}
    left, kit = left_of([*rows, unmeasured, blank], tmp_path)
    assert left[:4] == pytest.approx([3.5, 6.5, 3.5, 6.5])
    assert left[-1] is None
    assert len(left) == 13
    assert [str(error) for _, error in kit.take_gone()] == [
        "no_instruction: instruction is empty, or no text"
    ]
    figures = kit.figures
    assert figures["points for twice the length"] == pytest.approx(1.0)
    assert figures["correlation with log length, after"] == pytest.approx(0.0)
    assert left_of([rows[0], rows[1]], tmp_path / "same")[0] == [1.0, 4.0]  # one length
    assert left_of([], tmp_path / "none")[0] == []
    alike = [{**row, "difficulty": 0.1} for row in rows]
    assert left_of(alike, tmp_path / "alike")[1].figures["correlation with log length, before"] == 0


# --- the figures of all


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(1, 300)), min_size=2, max_size=20))
def test_the_histogram_is_of_all_rows_and_the_correlation_is_pearsons(
    rows: list[tuple[float, int]],
) -> None:
    import numpy as np

    from synthkd.kit import Kit
    from synthkd.recipes.spread import count_spread

    kit = Kit(Desk(step="s"), "row")
    for value, length in rows:
        count_spread(kit, "d", value, width=0.5, text="x" * length)
    counted: dict[str, Any] = {"kept": 3}
    for what, times in kit.counts:
        counted[what] = counted.get(what, 0) + times
    told: Any = with_spread(counted)
    assert told["kept"] == 3
    assert sum(told["d"]["histogram"].values()) == told["d"]["rows"] == len(rows)
    assert all(float(edge) % 0.5 == 0 for edge in told["d"]["histogram"])
    values, logs = np.array([v for v, _ in rows]), np.log([n for _, n in rows])
    assert told["d"]["mean"] == pytest.approx(values.mean(), abs=1e-3)
    if values.std() > 0.1 and logs.std() > 0.1:
        expected = np.corrcoef(values, logs)[0, 1]
        assert told["d"]["correlation with log length"] == pytest.approx(expected, abs=0.02)
