"""Two results on the rows that both have, from the files that evaluations leave."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.display import console_for
from synthkd.errors import UserError
from synthkd.evaluate.compare import Answers, compare
from synthkd.evaluate.predictions import read_predictions, write_predictions
from synthkd.evaluate.two_results import Comparison, Entry, compare_results
from synthkd.rows import Json
from synthkd.scoreboard import comparison_view

GOLD: list[Json] = ["a", "b", "c", "d"] * 10
HALF: list[Json] = ["a", "b", "x", "x"] * 10
MOST: list[Json] = ["a", "b", "c", "x"] * 10
IDS = [f"r{place}" for place in range(len(GOLD))]


def written(
    path: Path,
    student: list[Json] = MOST,
    *,
    gold: list[Json] = GOLD,
    ids: list[str] = IDS,
    metrics: tuple[str, ...] = ("accuracy", "macro_f1"),
    tolerance: float = 1e-6,
    **more: Any,
) -> Entry:
    path.mkdir(exist_ok=True)
    file = path / "predictions.parquet"
    answers = {
        "main": Answers(role="teacher", given=HALF if len(gold) == 40 else student, recorded=True),
        "student": Answers(role="student", given=student, **more),
    }
    compare(
        gold,
        answers,
        training_labels=["a"],
        metrics=metrics,
        resamples=2,
        tolerance=tolerance,
        also=lambda compared: write_predictions(file, ids, gold, compared, tolerance=tolerance),
    )
    return Entry(place=str(path), found=read_predictions(file))


def compared(a: Entry, b: Entry, **more: Any) -> Comparison:
    return compare_results(a, b, resamples=200, **more)


def test_the_rows_in_both_are_matched_by_id_in_whatever_order(tmp_path: Path) -> None:
    a = written(tmp_path / "a", MOST)
    turned = written(
        tmp_path / "b", [*HALF[::-1], None], gold=[*GOLD[::-1], "a"], ids=[*IDS[::-1], "more"]
    )
    found = compared(a, turned)
    assert (found.rows, found.a.rows, found.b.rows) == (40, 40, 41)
    accuracy = found.leads["accuracy"]
    assert accuracy.value == pytest.approx(0.25)
    assert (accuracy.only_student, accuracy.only_other) == (10, 0)
    assert accuracy.p == pytest.approx(2 / 2**10)
    assert found.a.metrics["accuracy"].value == pytest.approx(0.75)
    assert set(found.leads) == {"accuracy", "macro_f1"}
    assert found.notes[0].startswith("1 of 41 rows of ")
    back = compared(turned, a).leads["accuracy"]
    assert back.value == pytest.approx(-0.25)
    assert back.only_other == 10


def test_a_result_compared_with_itself_leads_by_nothing(tmp_path: Path) -> None:
    a = written(tmp_path / "a")
    found = compared(a, a)
    assert {lead.value for lead in found.leads.values()} == {0.0}
    assert found.leads["accuracy"].p == 1
    assert found.notes[0] == "A and B are both student of one result: name another with --a or --b"


def test_seeds_are_pooled_seed_by_seed_or_mean_against_mean(tmp_path: Path) -> None:
    a = written(tmp_path / "a", MOST, other_seeds=[GOLD, MOST], seeds=[0, 1, 2])
    same = written(tmp_path / "b", HALF, other_seeds=[MOST, HALF], seeds=[0, 1, 2])
    other = written(tmp_path / "c", HALF, other_seeds=[MOST], seeds=[0, 1])
    by_seed = compared(a, same)
    assert by_seed.leads["accuracy"].value == pytest.approx(0.25)  # in every seed
    assert by_seed.leads["accuracy"].p is None
    assert "seed by seed, over 3 seeds" in by_seed.notes[-1]
    by_mean = compared(a, other)
    lead = by_mean.leads["accuracy"]
    assert lead.value == pytest.approx((0.75 + 1 + 0.75) / 3 - 0.625)
    assert "mean against mean" in by_mean.notes[-1]
    one = compared(a, written(tmp_path / "d", HALF))
    assert one.leads["accuracy"].p is None
    assert [note[:8] for note in one.notes[-2:]] == ["one seed", "other se"]
    # Two seeds that far apart, in t's tail of one degree of freedom, leave everything open.
    assert (lead.low, lead.high) == (-1, 1)


def test_what_cannot_be_compared_is_refused_with_the_way_out(tmp_path: Path) -> None:
    a = written(tmp_path / "a")
    refused = {
        "have no row in common: a row's id is made of": written(
            tmp_path / "ids", ids=[f"x{place}" for place in range(40)]
        ),
        r"40 of 40 rows in both have another gold .* row r0 has 'a' there and 'z'": written(
            tmp_path / "gold", gold=["z"] * 40
        ),
        r"they have no metric in common": written(tmp_path / "metric", metrics=("exact_match",)),
    }
    for says, b in refused.items():
        with pytest.raises(UserError, match=says):
            compared(b, a) if "there and" not in says else compared(a, b)
    with pytest.raises(UserError, match=r"was not scored by 'chrf', only by accuracy, macro_f1"):
        compared(a, a, metrics=["chrf"])
    with pytest.raises(UserError, match=r"nobody there is called 'mian'.*main"):
        compared(a, Entry(place="b", found=a.found, who="mian"))
    numbers: list[Json] = [1, 2]
    exact = written(
        tmp_path / "n", numbers, gold=numbers, ids=["1", "2"], metrics=("numeric_match",)
    )
    loose = written(
        tmp_path / "m",
        numbers,
        gold=numbers,
        ids=["1", "2"],
        metrics=("numeric_match",),
        tolerance=0.5,
    )
    with pytest.raises(UserError, match=r"has the tolerance 1e-06 and .* 0.5"):
        compared(exact, loose)


def test_without_a_student_it_must_be_said_who(tmp_path: Path) -> None:
    a = written(tmp_path / "a")
    about = a.found.about
    contestants = {
        name: one.model_copy(update={"role": "teacher"}) for name, one in about.contestants.items()
    }
    several = Entry(
        place="b",
        found=type(a.found)(
            about=about.model_copy(update={"contestants": contestants}),
            gold=a.found.gold,
            answers=a.found.answers,
            confidences={},
        ),
    )
    with pytest.raises(UserError, match=r"say with --a or --b which one: majority class, main"):
        compared(a, several)


def test_the_table_names_what_must_stand_beside_a_figure(tmp_path: Path) -> None:
    a = written(tmp_path / "a", simulated=True)
    stream = io.StringIO()
    console = console_for(stream)
    console.print(comparison_view(compared(a, Entry(place="b", found=a.found, who="main"))))
    text = " ".join(stream.getvalue().split())
    for part in (
        "A: student (simulated) of",
        "B: main (recorded) of b, on test: 40 rows",
        "A: held-out rows among the rows to learn from: not checked",
        "few rows: 40",
        "one seed of a student",
        "accuracy 75.00 [",
        "10 0 0.002",
    ):
        assert part in text, text


def test_the_command_takes_folders_or_files_and_writes_json(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b", HALF)

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    file, out = tmp_path / "b" / "predictions.parquet", tmp_path / "out" / "c.json"
    result = invoke(tmp_path / "a", file, "--json", "--bootstrap", 20, "--out", out)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(out.read_bytes())
    assert json.loads(result.stdout)["leads"]["accuracy"]["value"] == pytest.approx(0.25)
    nothing = invoke(tmp_path / "a", tmp_path)
    assert (nothing.exit_code, "nothing was evaluated there" in nothing.stderr) == (2, True)
    assert "no such file or folder" in invoke(tmp_path / "a", tmp_path / "gone").stderr
