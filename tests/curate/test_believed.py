"""The whole way of four judges: a run, people's labels, a calibration, a pipeline that insists.

The judges are recorded: what they say is written down here, right in 19 of 20.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from synthkd.cli import app
from synthkd.io.rows_file import read_losses, read_rows

N = 360
SILENT = 7
"""Of 60 rows, the one on which no judge says anything that can be read."""
ONE = {"criteria": [{"name": "good", "asks": "Is it?", "scale": [0, 10]}]}
Fields = dict[str, Any]


def good(n: int) -> bool:
    return n % 4 != 0


def says_good(n: int, wrong: int) -> bool:
    return good(n) != (n % 20 == wrong)


def scored(high: bool) -> str:
    return json.dumps({"reasoning": "So.", "scores": {"good": 8 if high else 2}})


def lines(name: str, records: list[Fields]) -> None:
    Path(name).write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def scores(wrong: int) -> list[Fields]:
    """What a judge of one answer says; every 60th reply is none."""
    told = []
    for n in range(N):
        for text, high in ((f"answer {n}", says_good(n, wrong)), (f"other {n}", False)):
            said = "Well." if n % 60 == SILENT else scored(high)
            told.append({"candidate": text, "said": said})
    return told


def choices() -> list[Fields]:
    """What a judge of two says, both ways round."""
    told = []
    for n in range(N):
        texts = {"first": f"answer {n}", "second": f"other {n}"}
        better = "first" if says_good(n, 1) else "second"
        for first, second in (("first", "second"), ("second", "first")):
            verdict = "Well." if n % 60 == SILENT else "first" if first == better else "second"
            said = json.dumps({"reasoning": "So.", "verdict": verdict})
            told.append({"first": texts[first], "second": texts[second], "said": said})
    return told


def recorded(name: str, *match: str) -> Fields:
    return {"recorded": {"jsonl": f"{name}.jsonl", "match": list(match), "text": "said"}}


ONE_JUDGE = {"j": recorded("said", "candidate")}
JUDGES: dict[str, tuple[Fields, Fields]] = {
    "judge.rubric": (ONE_JUDGE, {"teacher": "j", "rubric": ONE, "structured": False}),
    "judge.pairwise": (
        {"j": recorded("pairs", "first", "second")},
        {"teacher": "j", "first": "response", "second": "other", "structured": False},
    ),
    "judge.panel": (
        {**ONE_JUDGE, "k": recorded("also", "candidate")},
        {
            "teachers": ["j", "k"], "rubric": ONE, "structured": False,
            "vote": "majority", "yes_from": 0.5,
        },
    ),
    "judge.best_of": (
        ONE_JUDGE,
        {
            "teacher": "j", "rubric": ONE, "structured": False,
            "answers": ["response", "other"], "into": "best",
        },
    ),
}  # fmt: skip
"""Step -> its teachers and settings."""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(use: str, out: str, *options: object, **more: Any) -> Result:
    teachers, settings = JUDGES[use]
    pipeline = {
        "name": "judged",
        "teachers": teachers,
        "source": {"jsonl": "rows.jsonl", "id": ["n"]},
        "steps": [{"use": use, "with": settings | more}],
        "export": {"format": "rows"},
    }
    Path("p.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    return invoke("run", "p.yaml", "--out", out, *options)


def calibrated(use: str, *more: object) -> Result:
    """Run the judge, have all its rows labelled, and calibrate."""
    lines(
        "rows.jsonl",
        [
            {"n": n, "instruction": "Say.", "response": f"answer {n}", "other": f"other {n}"}
            for n in range(N)
        ],
    )
    lines("said.jsonl", scores(wrong=1))
    lines("also.jsonl", scores(wrong=4))
    lines("pairs.jsonl", choices())
    first = run(use, "out")
    assert first.exit_code == 0, first.output
    names = ("first", "second") if use == "judge.pairwise" else ("good", "poor")
    labels = [
        {"id": row.id, "label": names[not good(int(str(row.fields["n"])))]}
        for row in read_rows(Path("out/rows/rows.parquet"))
    ]
    lost = read_losses(Path("out/rejected.parquet"))
    labels += [{"id": loss["row_id"], "label": names[0]} for loss in lost]
    lines("people.jsonl", labels)
    return invoke("calibrate", "out", "--people", "people.jsonl", *more)


def insisting(use: str, **more: Any) -> Result:
    return run(use, "again", "--limit", 4, calibration="out/calibration.json", **more)


@pytest.mark.parametrize("use", JUDGES)
def test_the_whole_way(use: str) -> None:
    scoring = use != "judge.pairwise"
    result = calibrated(use, *(("--good", "good", "--precision", "0.97") if scoring else ()))
    assert result.exit_code == 0, result.output
    found = json.loads(Path("out/calibration.json").read_text(encoding="utf-8"))
    assert found["unreadable"] > 0  # they were in no row, and count as wrong
    gate = {"keep_at_least": found["threshold"]["threshold"]} if scoring else {}
    kept = {"accuracy": 0.8, "kappa": 0.6} | ({"precision": 0.8} if scoring else {})
    believed = insisting(use, floor=kept, **gate)
    assert believed.exit_code == 0, believed.output

    missed = insisting(use, floor={"accuracy": 0.97}, **gate)
    assert missed.exit_code == 2
    accuracy = found["figures"]["accuracy"]
    interval = f"95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}"
    assert f"accuracy is {accuracy['value']:.3f} ({interval}" in missed.output
    assert "its lower end must be at least 0.97" in missed.output

    other = insisting(use, floor=kept, samples=2, **gate)
    assert other.exit_code == 2
    assert other.output.count("\n") == 1
    assert "is of another judge: samples differs" in other.output

    whole = Path("out/calibration.json").read_text(encoding="utf-8")
    for text in (whole[: len(whole) // 2], '{"kappa": 0.9}', "[]", ""):
        Path("out/calibration.json").write_text(text, encoding="utf-8")
        broken = insisting(use, floor=kept, **gate)
        assert broken.exit_code == 2
        assert broken.output.count("\n") == 1
        assert "is no calibration of this version, or a part of one" in broken.output


def test_a_floor_holds_for_the_threshold_that_the_step_uses() -> None:
    assert calibrated("judge.rubric", "--good", "good", "--precision", "0.9").exit_code == 0
    for gate in ({}, {"keep_at_least": 0.2}):
        result = insisting("judge.rubric", floor={"precision": 0.8}, **gate)
        assert result.exit_code == 2
        said = f"keep_at_least: is {gate.get('keep_at_least')}, and the figures of out/calibration"
        assert said in result.output
        assert "are of the threshold 0.8: write `keep_at_least: 0.8`" in result.output


def test_what_a_judge_threw_out_for_its_verdict_flatters_it() -> None:
    teachers, settings = JUDGES["judge.rubric"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(JUDGES, "judge.rubric", (teachers, settings | {"keep_at_least": 0.5}))
        result = calibrated("judge.rubric", "--good", "good", "--precision", "0.9")
    assert result.exit_code == 2
    assert "rows as low_score, so that the rows that are left flatter it" in result.output
    assert "run it again without `keep_at_least`" in result.output


def test_unreadable_verdicts_that_nobody_labels_do_not_help() -> None:
    assert calibrated("judge.pairwise").exit_code == 0
    readable = Path("people.jsonl").read_text(encoding="utf-8").splitlines()[: -N // 60]
    Path("people.jsonl").write_text("\n".join(readable), encoding="utf-8")
    result = invoke("calibrate", "out", "--people", "people.jsonl")
    assert f"{N // 60} rows without a readable verdict have no label" in result.output
    refused = insisting("judge.pairwise", floor={"accuracy": 0.5})
    assert refused.exit_code == 2
    assert "people labelled too few" in refused.output


def test_rows_without_a_verdict_are_known_by_their_id_alone() -> None:
    assert calibrated("judge.pairwise").exit_code == 0
    lines("people.jsonl", [{"n": n, "label": "first"} for n in range(N)])
    result = invoke("calibrate", "out", "--people", "people.jsonl", "--id", "n")
    assert result.exit_code == 2
    known = f"{N // 60} rows have no readable verdict, and only their `id` is known, not 'n'"
    assert known in result.output


# --- input that proves nothing


def only(texts: Callable[[int], str], said: str, use: str, **settings: Any) -> Result:
    """A run of 120 rows whose judge says one thing; people say first or good of nine of ten."""
    lines(
        "rows.jsonl",
        [
            {"n": n, "instruction": "Say.", "response": f"answer {n}", "other": texts(n)}
            for n in range(120)
        ],
    )
    lines("one.jsonl", [{"question": "Say.", "said": said}])
    teachers = {"j": recorded("one", "question")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(JUDGES, use, (teachers, {"teacher": "j", "structured": False, **settings}))
        first = run(use, "out")
    assert first.exit_code == 0, first.output
    names = ("first", "second") if use == "judge.pairwise" else ("good", "poor")
    lines(
        "people.jsonl",
        [
            {"id": row.id, "label": names[int(str(row.fields["n"])) % 10 == 0]}
            for row in read_rows(Path("out/rows/rows.parquet"))
        ],
    )
    more = () if use == "judge.pairwise" else ("--good", "good", "--precision", "0.5")
    return invoke("calibrate", "out", "--people", "people.jsonl", *more)


PAIRWISE = {"first": "response", "second": "other"}


def test_a_judge_that_always_says_the_same_has_kappa_0() -> None:
    said = '{"verdict": "first"}'
    result = only(lambda n: f"other {n}", said, "judge.pairwise", orders="as_is", **PAIRWISE)
    assert result.exit_code == 0
    assert "the judge always says 'first': kappa is 0" in result.output
    figures = json.loads(Path("out/calibration.json").read_text(encoding="utf-8"))["figures"]
    assert figures["kappa"]["value"] == 0.0
    assert figures["accuracy"]["value"] == 0.9


def test_a_judge_that_goes_by_the_place_calls_all_a_tie() -> None:
    result = only(lambda n: f"other {n}", '{"verdict": "first"}', "judge.pairwise", **PAIRWISE)
    assert "the judge calls everything a tie: it decides nothing" in result.output
    figures = json.loads(Path("out/calibration.json").read_text(encoding="utf-8"))["figures"]
    assert figures["accuracy"]["value"] == figures["kappa"]["value"] == 0.0
    assert figures["prefers_longer"] is None


def test_a_reference_that_is_the_answer_itself_tells_nothing_of_the_judge() -> None:
    result = only(lambda n: f"answer {n}", scored(True), "judge.reference", reference="other")
    assert result.exit_code == 2
    assert "all 120 verdicts that people labelled are by definition" in result.output


def test_of_some_references_that_are_the_answer_the_others_count() -> None:
    def reference(n: int) -> str:
        return f"answer {n}" if n % 10 == 0 else "Another."

    judge = {"reference": "other", "rubric": ONE}
    result = only(reference, scored(True), "judge.reference", **judge)
    assert result.exit_code == 0, result.output
    assert "12 judged by definition" in result.output


def test_labels_of_unknown_ids_are_named() -> None:
    assert calibrated("judge.pairwise").exit_code == 0
    with Path("people.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "nobody", "label": "first"}\n')
    result = invoke("calibrate", "out", "--people", "people.jsonl")
    assert result.exit_code == 2
    assert f"1 of {N + 1} ids have no verdict in out: 'nobody'" in result.output


def test_a_calibration_is_of_the_rows_that_the_run_has_made() -> None:
    assert calibrated("judge.pairwise").exit_code == 0
    rows = Path("out/rows/rows.parquet")
    other = rows.read_bytes()
    assert run("judge.pairwise", "out", "--limit", 200).exit_code == 0
    rows.write_bytes(other)
    result = invoke("calibrate", "out", "--people", "people.jsonl", "--skip-unknown")
    assert result.exit_code == 2
    assert "rows.parquet: is not the file that manifest.json tells of" in result.stderr


def test_what_annotators_are_called_does_nothing_to_a_terminal() -> None:
    lines("v.jsonl", [{"id": n, "v": "a"} for n in range(3)])
    lines("p.jsonl", [{"id": n, "label": "a", "annotator": "\x1b[31m\u202eann"} for n in range(3)])
    result = invoke("calibrate", "v.jsonl", "--verdict", "v", "--people", "p.jsonl")
    assert result.exit_code == 0, result.output
    assert "people:  [31m ann 3" in result.output
