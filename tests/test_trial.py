"""Evaluations without a run: whoever is named, on the rows of a file.

The fake provider echoes the prompt, so that the last word of a row's text is what it answers.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.errors import BudgetReached, ConfigError, SynthkdError, TooManyLost, UserError
from synthkd.evaluate.predictions import read_predictions
from synthkd.examinees import Named
from synthkd.fake_teacher import FakeTeacher
from synthkd.folder import read_stopped
from synthkd.manifest import Contestant, TrialRecord
from synthkd.pipeline import Pipeline
from synthkd.trial import Trial, read_trial

SAY = "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n"
ROWS = [{"id": f"r{i}", "text": f"item{i:02} is k{i % 3}", "gold": f"k{i % 3}"} for i in range(30)]


def write(folder: Path, url: str = "http://127.0.0.1:1/v1", **more: Any) -> Path:
    """A pipeline that holds half of the rows out, and has a student. Returns the file."""
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    (folder / "say.md.j2").write_text(SAY, encoding="utf-8")
    step = {"teacher": "main", "prompt": "say", "labels": ["k0", "k1", "k2"]}
    main = {"endpoint": url, "model": "fake", "max_attempts": 1, "params": {"temperature": 0}}
    pipeline = {
        "name": "exam",
        "teachers": {"main": main},
        "source": {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["text"]}},
        "steps": [{"use": "label", "with": step}],
        "student": {"kind": "linear", "text": "text", "label": "label"},
        "evaluate": {"on": "test", "ask": "label", "gold": "gold", "bootstrap": 20},
        **more,
    }
    file = folder / "exam.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


def new_rows(folder: Path, rows: list[dict[str, Any]], name: str = "new.csv") -> Path:
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, fieldnames=list(rows[0]))
        lines.writeheader()
        lines.writerows(rows)
    return folder / name


FRESH = [
    {"id": f"n{i}", "text": f"thing{i:02} is k{i % 3}", "gold": f"k{i % 3}"} for i in range(12)
]


async def trained(folder: Path, provider: FakeTeacher) -> Path:
    await Pipeline.load(write(folder, provider.url), out=folder / "run").run()
    return folder / "run"


def on_rows(folder: Path, rows: Path, named: Named | None = None, *overrides: str) -> Trial:
    return Trial.load(folder / "exam.yaml", named, rows=rows, overrides=overrides, out=folder / "o")


def one(record: TrialRecord, name: str) -> Contestant:
    return next(it for it in record.evaluation.contestants if it.name == name)


async def test_another_endpoint_takes_the_place_of_the_files_teacher(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider, FakeTeacher().serve() as other:
        named = Named(endpoint=other.url, model="acme/tiny 2")
        rows = new_rows(tmp_path, FRESH)
        locked = "teachers.locked={endpoint: 'http://127.0.0.1:1', model: x, api_key_env: NO_KEY}"
        write(tmp_path, provider.url)
        trial = on_rows(tmp_path, rows, named, locked)
        record = await trial.carry_out()
        assert (provider.requests, other.requests) == (0, len(FRESH))
        again = await trial.carry_out(offline=True)
        assert other.requests == len(FRESH)
    assert [it.name for it in record.evaluation.contestants] == ["acme-tiny-2"]
    assert one(record, "acme-tiny-2").metrics["accuracy"].value == 1
    assert record.config["teachers"]["acme-tiny-2"]["params"] == {"temperature": 0}
    named = Named(endpoint=other.url, model="main")  # as the file's own is called
    same = on_rows(tmp_path, rows, named)._plan.config.teachers["main"]
    assert (same.endpoint, same.params) == (other.url, {"temperature": 0})
    assert set(record.config["teachers"]) == {"acme-tiny-2"}  # no key of others is asked for
    assert (record.evaluation.rows, record.spend.requests) == (12, 12)
    assert record.evaluation.contamination == "not checked"
    assert again.evaluation.contestants[0].metrics == record.evaluation.contestants[0].metrics
    assert read_trial(tmp_path / "o") == again
    kept = read_predictions(tmp_path / "o" / "predictions.parquet")
    assert len(kept.gold) == 12
    assert set(again.files) == {"predictions.parquet", "card.md"}
    assert "| teacher: acme-tiny-2 | accuracy | 100.00 |" in (tmp_path / "o/card.md").read_text()


async def test_a_runs_student_on_new_rows_knows_what_it_learnt_from(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        run = await trained(tmp_path, provider)
        asked = provider.requests
        learnt = [row for row in ROWS if row["text"] in (run / "dataset/train.jsonl").read_text()]
        odd = {"id": "x", "text": "thing is k9", "gold": "k9"}
        rows = new_rows(tmp_path, [*FRESH, learnt[0], odd])
        record = await on_rows(tmp_path, rows, Named(student=run)).carry_out()
        assert provider.requests == asked  # a student alone asks no teacher
    evaluation = record.evaluation
    assert [it.role for it in evaluation.contestants] == ["base", "student"]
    assert evaluation.contamination.startswith("1 rows are the same as a held-out one; ")
    assert evaluation.unseen is not None
    assert evaluation.unseen.examples == ["k9"]
    assert record.student is not None
    assert record.student["folder"] == str(run / "student")


async def test_a_students_folder_alone_needs_no_run_and_no_card(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        run = await trained(tmp_path, provider)
    alone = tmp_path / "alone"
    shutil.copytree(run / "student", alone)
    shutil.rmtree(run)
    (alone / "README.md").unlink()
    rows = new_rows(tmp_path, [{"n": 1, "words": "a is k9", "gold": "k9"}])
    late = ["student.text=words", "source.id=[n]"]
    with pytest.raises(UserError, match=r"student.text is 'text', and row 1 .* are: n, words"):
        await on_rows(tmp_path, rows, Named(student=alone), *late[1:]).carry_out()
    assert not (tmp_path / "o").exists()
    about = alone / "student.json"
    whole = orjson.loads(about.read_bytes())
    for odd in ({"config": None}, {"made_from": "nobody"}):
        about.write_bytes(orjson.dumps({**whole, **odd}))
        with pytest.raises(UserError, match=r"damaged student .*config and made_from"):
            on_rows(tmp_path, rows, Named(student=alone))
    about.write_bytes(orjson.dumps(whole))
    record = await on_rows(tmp_path, rows, Named(student=alone), *late).carry_out()
    assert [it.role for it in record.evaluation.contestants] == ["student"]  # nobody knows a base
    assert record.evaluation.unseen is not None  # it has never learnt to say k9
    assert any("has no card (README.md)" in note for note in record.evaluation.notes)
    (alone / "student.json").unlink()
    with pytest.raises(
        UserError, match=r"no student \(student.json is missing.*config.json is mis"
    ):
        Trial.load(tmp_path / "exam.yaml", Named(student=alone))


def test_a_plain_model_is_asked_by_the_step(tmp_path: Path) -> None:
    model = tmp_path / "qwen tiny"
    model.mkdir()
    (model / "config.json").write_text("{}")
    file = write(tmp_path)
    found = Trial.load(file, Named(student=model, teachers=["main"]))._plan.config
    assert set(found.teachers) == {"main", "qwen-tiny"}
    assert found.teachers["qwen-tiny"].student is not None
    assert found.steps[0].with_["teachers"] == ["main", "qwen-tiny"]
    assert found.student is None


def test_what_only_a_student_has_is_left_out_where_none_is_examined(tmp_path: Path) -> None:
    sft = {"kind": "sft", "base": "nowhere", "prompt": "text", "completion": "label"}
    exam = {"ask": "label", "gold": "gold", "forgetting": {}}
    exam["paraphrases"] = {"ask": ["other"], "student": ["gone"]}
    (tmp_path / "other.md.j2").write_text(SAY + "Now.\n", encoding="utf-8")
    file = write(tmp_path, student=sft, evaluate=exam)
    found = Trial.load(file)._plan.config.evaluate
    assert found is not None
    assert found.forgetting is None
    assert found.paraphrases is not None
    assert (found.paraphrases.ask, found.paraphrases.student) == (["other"], [])


async def test_rows_on_which_asking_fails_are_told_and_too_many_stop_it(tmp_path: Path) -> None:
    async with FakeTeacher(rates={"500": 0.3}).serve() as provider:
        file = write(tmp_path, provider.url)
        rows = new_rows(tmp_path, FRESH)
        with pytest.raises(TooManyLost, match=r"asking about the test rows: .* failed"):
            await on_rows(tmp_path, rows).carry_out()
        stopped = read_stopped(tmp_path / "o")
        assert stopped is not None
        assert not (tmp_path / "o" / "evaluation.json").exists()
        lenient = on_rows(tmp_path, rows, None, "limits.max_failed=0.9")
        evaluation = (await lenient.carry_out()).evaluation
        assert evaluation.left_out > 0
        assert evaluation.rows + evaluation.left_out == 12
        assert evaluation.funnel.reasons == {"Unanswered": evaluation.left_out}
        assert "further rows, on which asking failed" in (tmp_path / "o/card.md").read_text()
        provider.rates.clear()
        whole = await on_rows(tmp_path, rows).carry_out()
        assert whole.evaluation.left_out == 0
        poor = Trial.load(file, overrides=["budget.requests=5"], out=tmp_path / "poor")
        with pytest.raises(BudgetReached):
            await poor.carry_out()


async def test_ten_rows_of_one_class_say_how_little_that_is(tmp_path: Path) -> None:
    one_class = [{**row, "text": f"{row['id']} is k0", "gold": "k0"} for row in ROWS[:10]]
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, provider.url)
        rows = new_rows(tmp_path, one_class)
        evaluation = (await Trial.load(file, rows=rows, out=tmp_path / "o").carry_out()).evaluation
    assert [note.split(":")[0] for note in evaluation.notes] == ["few rows", "one label"]
    (main,) = evaluation.contestants
    assert main.metrics["accuracy"].value == 1
    assert main.metrics["accuracy"].low < 0.7  # ten of ten are no proof


@pytest.mark.parametrize(
    ("named", "more", "says"),
    [
        ({"teachers": ["mian"]}, {}, "no teacher is named 'mian'; there are: main"),
        ({"endpoint": "http://127.0.0.1:1/v1"}, {}, "--endpoint and --model go together"),
        ({}, {"overrides": ["evaluate.ask=null"]}, "nobody is examined: name the step"),
        ({}, {"overrides": ["evaluate.ask=lable"]}, "no step is named 'lable'"),
        ({}, {"overrides": ["evaluate.gold=null"]}, "evaluate.gold is missing"),
        ({}, {"overrides": ["evaluate.gold=golf"]}, "evaluate.gold is 'golf', and row"),
        ({}, {"overrides": ["evaluate.metrics=[numeric_match]"]}, "needs a number in gold, but"),
        ({}, {"rows": "rows.txt"}, r"must end in .jsonl, .csv or .parquet"),
        ({}, {"rows": "gone.jsonl"}, "gone.jsonl"),
        ({}, {"rows": "empty.jsonl"}, "there is no test row to evaluate on, in empty.jsonl"),
        ({}, {"rows": "silent.jsonl"}, "the step 'label' needs the field 'text', and the rows"),
    ],
)
async def test_mistakes_cost_nothing_and_leave_nothing(
    named: dict[str, Any], more: dict[str, Any], says: str, tmp_path: Path, own_folder: None
) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "silent.jsonl").write_bytes(b'{"id": "r1", "gold": "k0"}\n')
    with pytest.raises(SynthkdError, match=says) as caught:
        await Trial.load(write(tmp_path), Named(**named), out=tmp_path / "o", **more).carry_out()
    assert caught.value.exit_code == UserError.exit_code
    assert not (tmp_path / "o").exists()


async def test_a_run_of_rows_that_are_all_held_out_has_nothing_to_read(tmp_path: Path) -> None:
    source = {"jsonl": "rows.jsonl", "holdout": {"test": 1}}
    file = write(tmp_path, source=source)
    with pytest.raises(ConfigError, match="no row is left to read: 30 are held out for test"):
        await Pipeline.load(file, out=tmp_path / "o").run()
    half = {"jsonl": "rows.jsonl", "holdout": {"test": 0.5}}
    with pytest.raises(ConfigError, match="by is missing"):
        Pipeline.load(write(tmp_path, source=half))


async def test_the_command_tells_runs_from_files(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        run = await trained(tmp_path, provider)
        card = (run / "student" / "README.md").read_text(encoding="utf-8")
        assert "## Evaluation\n\nOn " in card
        assert "| student: student | accuracy |" in card
        assert "## Evaluation\n" in (run / "dataset" / "README.md").read_text(encoding="utf-8")

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments)])

    file, out = tmp_path / "exam.yaml", tmp_path / "o"
    mixed = invoke("eval", run, "--student", run)
    assert (mixed.exit_code, "name a pipeline file" in mixed.stderr) == (2, True)
    over = invoke("eval", file, "--student", run, "--out", run)
    assert (over.exit_code, "holds a run, whose results" in over.stderr) == (2, True)
    stopped = tmp_path / "stopped"
    unasked = ["--offline", "--set", "teachers.main.model=another"]
    assert invoke("run", file, "--out", stopped, *unasked).exit_code == TooManyLost.exit_code
    over = invoke("eval", file, "--student", run, "--out", stopped)
    assert (over.exit_code, "holds a run, whose results" in over.stderr) == (2, True)
    assert (stopped / "stopped" / "stopped.json").exists()  # why it stopped is still told
    done = invoke("eval", file, "--student", run, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout) == orjson.loads((out / "evaluation.json").read_bytes())
    over = invoke("run", file, "--out", out)
    assert (over.exit_code, "holds an evaluation, whose results" in over.stderr) == (2, True)
    none = invoke("eval", out)
    assert (none.exit_code, "an evaluation without a run" in none.stderr) == (2, True)
    shown = invoke("show", out)
    told = " ".join(shown.stdout.split())  # long folders wrap the line
    assert "student: linear in" in told
    assert "taught by: main: `fake`" in told
    same = invoke("compare", out, run, "--json", "--bootstrap", 5)
    assert orjson.loads(same.stdout)["leads"]["accuracy"]["value"] == 0
