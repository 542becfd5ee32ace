"""The evaluation stage in whole runs: what is wrong, what is left out, what is charged to whom.

The fake provider echoes the prompt, so that the last word of a row's text is what it answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.errors import ConfigError, NothingToLearn, TooManyLost, UserError
from synthkd.evaluate.predictions import read_predictions
from synthkd.fake_teacher import FakeTeacher
from synthkd.folder import read_stopped
from synthkd.manifest import Contestant, Evaluation, Progress
from synthkd.pipeline import Pipeline

SAY = "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n"
PRICE = {"prompt": 1_000_000, "completion": 0}
"""A dollar for each token of the prompt."""
ROWS = [{"id": f"r{i}", "text": f"item{i:02} is {i % 3}", "gold": i % 3} for i in range(60)]
"""Gold is a class id, as integers."""
STUDENT = {"kind": "linear", "text": "text", "label": "label"}


def write(
    folder: Path, provider: FakeTeacher, rows: list[dict[str, Any]] = ROWS, **more: Any
) -> Path:
    """A pipeline that holds half of the rows out. Returns the file."""
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (folder / "say.md.j2").write_text(SAY, encoding="utf-8")
    pipeline = {
        "name": "exam",
        "teachers": {"main": teacher(provider)},
        "source": {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["text"]}},
        "steps": [label(teacher="main")],
        "evaluate": {"on": "test", "ask": "label", "gold": "gold", "bootstrap": 20},
        **more,
    }
    file = folder / "exam.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


def teacher(provider: FakeTeacher, **more: Any) -> dict[str, Any]:
    return {"endpoint": provider.url, "model": "fake", "max_attempts": 1, **more}


def label(**settings: Any) -> dict[str, Any]:
    return {"use": "label", "with": {"prompt": "say", "labels": ["0", "1", "2"], **settings}}


async def result(pipeline: Pipeline, **ways: Any) -> Evaluation:
    evaluation = (await pipeline.run(**ways)).evaluation
    assert evaluation is not None
    return evaluation


def named(evaluation: Evaluation, name: str) -> Contestant:
    return next(one for one in evaluation.contestants if one.name == name)


def accuracy(one: Contestant) -> float:
    return one.metrics["accuracy"].value


async def test_a_row_whose_asking_failed_is_left_out_for_everybody(tmp_path: Path) -> None:
    async with FakeTeacher(rates={"500": 0.2}).serve() as provider:
        file = write(tmp_path, provider, limits={"max_failed": 0.5}, student=STUDENT)
        manifest = await Pipeline.load(file, out="out").run()
    evaluation = manifest.evaluation
    assert evaluation is not None
    assert evaluation.left_out > 0
    assert evaluation.rows + evaluation.left_out == manifest.counts.held_out["test"]
    assert evaluation.funnel.failed == evaluation.left_out
    assert evaluation.funnel.reasons == {"Unanswered": evaluation.left_out}
    main = named(evaluation, "main")
    assert (accuracy(main), main.answered) == (1.0, evaluation.rows)
    assert named(evaluation, "student").answered == evaluation.rows


async def test_too_many_failures_stop_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:

        def break_down(progress: Progress) -> None:
            if progress.stage == "evaluating":
                provider.rates["500"] = 0.6

        pipeline = Pipeline.load(write(tmp_path, provider), out="out")
        with pytest.raises(TooManyLost, match=r"asking about the test rows: .* failed") as caught:
            await pipeline.run(on_progress=break_down)
        assert "limits.max_failed" in str(caught.value)
        stopped = read_stopped(tmp_path / "out")
        assert stopped is not None
        assert stopped.exit_code == 4
        provider.rates.clear()
        answered = provider.billed_requests
        evaluation = await result(pipeline)
        assert provider.billed_requests == 60 > answered
    assert (evaluation.left_out, accuracy(named(evaluation, "main"))) == (0, 1.0)


async def test_a_reply_that_cannot_be_read_is_wrong(tmp_path: Path) -> None:
    rows = [
        {**row, "text": f"item{i:02} is no"} if i % 4 == 0 else row for i, row in enumerate(ROWS)
    ]
    async with FakeTeacher().serve() as provider:
        evaluation = await result(Pipeline.load(write(tmp_path, provider, rows), out="out"))
    funnel, main = evaluation.funnel, named(evaluation, "main")
    assert (evaluation.left_out, funnel.failed) == (0, 0)
    assert funnel.rejected == funnel.reasons["bad_label"] > 0
    assert accuracy(main) == pytest.approx(1 - funnel.rejected / evaluation.rows)
    assert main.answered == evaluation.rows - funnel.rejected


async def test_offline_without_answers_invents_no_scores(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        alone = write(tmp_path, provider, evaluate=None)
        await Pipeline.load(alone, out="out").run()
        pipeline = Pipeline.load(write(tmp_path, provider), out="out")
        with pytest.raises(TooManyLost, match="NotInLedger"):
            await pipeline.run(offline=True)
        anything = Pipeline.load(write(tmp_path, provider, limits={"max_failed": 1.0}), out="out")
        with pytest.raises(TooManyLost, match=r"on none of the .* test rows did asking succeed"):
            await anything.run(offline=True)


async def test_every_teacher_asked_is_listed_and_scored_by_its_own_answers(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        # Two words of the echo are no label.
        teachers = {"main": teacher(provider), "mute": teacher(provider, params={"max_tokens": 2})}
        step = label(teachers=["mute", "main"])
        evaluation = await result(
            Pipeline.load(write(tmp_path, provider, teachers=teachers, steps=[step]), out="out")
        )
    assert [(one.name, one.role) for one in evaluation.contestants[1:]] == [
        ("mute", "teacher"),
        ("main", "teacher"),
        ("label: vote", "panel"),
    ]
    mute, main, vote = evaluation.contestants[1:]
    assert (accuracy(mute), mute.answered) == (0.0, 0)
    assert (accuracy(main), accuracy(vote)) == (1.0, 1.0)


async def test_a_failed_teacher_is_not_outvoted_in_silence(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider, FakeTeacher(rates={"500": 0.3}).serve() as shaky:
        teachers = {"main": teacher(provider), "shaky": teacher(shaky)}
        step = label(teachers=["main", "shaky"])
        file = write(tmp_path, provider, teachers=teachers, steps=[step])
        with pytest.raises(TooManyLost, match="Unanswered"):
            await Pipeline.load(file, out="out").run()
        lenient = Pipeline.load(file, out="out", overrides=["limits.max_failed=0.6"])
        evaluation = await result(lenient)
    assert evaluation.left_out == evaluation.funnel.failed > 0
    assert {one.answered for one in evaluation.contestants} == {evaluation.rows}


async def test_one_sample_is_charged_to_a_teacher_and_all_to_the_vote(tmp_path: Path) -> None:
    tokens = len("item00 is 0") + 16  # as the fake counts them
    async with FakeTeacher().serve() as provider:
        steps = [label(teacher="main", samples=3)]
        teachers = {"main": teacher(provider, price=PRICE)}
        file = write(tmp_path, provider, teachers=teachers, steps=steps)
        first = await result(Pipeline.load(file, out="out"))
        again = await result(Pipeline.load(file, out="again"))
        unpriced = await result(
            Pipeline.load(write(tmp_path, provider, steps=steps), out="unpriced")
        )
    for evaluation in (first, again):
        assert named(evaluation, "main").usd_per_1000 == pytest.approx(1000 * tokens)
        assert named(evaluation, "label: vote").usd_per_1000 == pytest.approx(3000 * tokens)
    assert named(first, "main").ms_per_row is not None
    assert named(first, "label: vote").ms_per_row is None
    assert named(again, "main").ms_per_row is None  # all from the ledger: nothing was timed
    assert named(unpriced, "main").usd_per_1000 is None
    assert named(unpriced, "label: vote").usd_per_1000 is None


async def test_who_stops_early_is_judged_as_a_whole_and_charged_for_what_it_asked(
    tmp_path: Path,
) -> None:
    tokens = len("item00 is 0") + 16
    async with FakeTeacher().serve() as provider:
        steps = [label(teacher="main", samples=5, until={"sure": 0.8, "first": 2})]
        teachers = {"main": teacher(provider, price=PRICE)}
        file = write(tmp_path, provider, teachers=teachers, steps=steps)
        evaluation = await result(Pipeline.load(file, out="out"))
    (only,) = evaluation.contestants[1:]
    assert (only.name, only.role, accuracy(only)) == ("main", "teacher", 1.0)
    assert only.usd_per_1000 == pytest.approx(2000 * tokens)


async def test_tokens_that_the_provider_does_not_tell_are_not_free(tmp_path: Path) -> None:
    async with FakeTeacher(tells_usage=False).serve() as provider:
        teachers = {"main": teacher(provider, price=PRICE)}
        evaluation = await result(
            Pipeline.load(write(tmp_path, provider, teachers=teachers), out="out")
        )
    assert named(evaluation, "main").usd_per_1000 is None


async def test_without_a_student_a_rationale_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    rows = [
        {**row, "text": f"because. The answer is {row['gold']}", "n": row["id"]} for row in ROWS
    ]
    source = {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["n"]}}
    step = {"use": "rationale", "with": {"teacher": "main", "prompt": "say", "gold": "gold"}}
    async with FakeTeacher().serve() as provider:
        file = write(
            tmp_path,
            provider,
            rows,
            source=source,
            steps=[step],
            evaluate={"on": "test", "ask": "rationale", "bootstrap": 20},
        )
        evaluation = await result(Pipeline.load(file, out="out"))
    assert accuracy(named(evaluation, "main")) == 1.0


# --- mistakes, found before anything is bought


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"gold": None}, "evaluate.gold: held-out row .* no text in 'gold', got None"),
        ({"gold": " "}, "evaluate.metrics: accuracy needs a text .* held-out row .* has ' '"),
        ({"gold": [1]}, "evaluate.metrics: accuracy needs a text .* but 'gold' of held-out row"),
        ({"text": 7, "shown": "x"}, "student.text: held-out row .* no text in 'text', got 7"),
    ],
)
async def test_held_out_rows_without_gold_or_text_cost_nothing(
    row: dict[str, Any], says: str, tmp_path: Path
) -> None:
    source = {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["id"]}}
    async with FakeTeacher().serve() as provider:
        rows = [{**one, **row} for one in ROWS]
        file = write(tmp_path, provider, rows, source=source, student=STUDENT)
        with pytest.raises(UserError, match=says):
            await Pipeline.load(file, out="out").run()
        with pytest.raises(UserError, match=says):
            Pipeline.load(file, out="out").plan()
        assert provider.requests == 0
        assert not (tmp_path / "out").exists()


ANSWER = {"teacher": "main", "prompt": "say", "into": "draft"}
GENERATE = {"use": "generate", "with": {**ANSWER, "samples": 2}}


async def test_a_prompt_is_asked_where_it_gives_one_answer(tmp_path: Path) -> None:
    rows = [
        {**row, "gold": f"echo -: {row['text']}" if i % 2 else "no"} for i, row in enumerate(ROWS)
    ]
    exam = {"ask": "generate", "gold": "gold", "metrics": ["exact_match"], "bootstrap": 20}
    async with FakeTeacher().serve() as provider:
        once = {"use": "generate", "with": ANSWER}
        file = write(tmp_path, provider, rows, steps=[once], evaluate=exam)
        evaluation = await result(Pipeline.load(file, out="out"))
    main = named(evaluation, "main")
    kept = read_predictions(tmp_path / "out" / "predictions.parquet")
    right = sum(gold != "no" for gold in kept.gold.values())
    assert main.metrics["exact_match"].value == pytest.approx(right / len(kept.gold))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"steps": [GENERATE], "evaluate": {"ask": "generate", "gold": "gold"}},
            "'generate' makes several rows of one",
        ),
        (
            {
                "steps": [{"use": "gate.length", "with": {"field": "text", "min_chars": 1}}],
                "evaluate": {"ask": "gate.length", "gold": "gold"},
            },
            "'gate.length' asks no teacher",
        ),
        (
            {
                "steps": [
                    {"use": "generate", "with": {"teacher": "main", "prompt": "say"}},
                    label(teacher="main", prompt="judge"),
                ],
            },
            r"evaluate.ask \(label\).* needs the field 'response'",
        ),
        (
            {"steps": [label(teacher="main", prompt="leak")]},
            r"evaluate.ask \(label\).* without gold, needs the field 'gold'",
        ),
    ],
)
async def test_a_step_that_cannot_be_asked_about_held_out_rows(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    (tmp_path / "judge.md.j2").write_text(
        SAY.replace("text", "response", 1).replace("{{ text", "{{ response"), encoding="utf-8"
    )
    (tmp_path / "leak.md.j2").write_text(
        SAY.replace("[text", "[text, gold").replace("{{ text", "{{ gold }} {{ text"),
        encoding="utf-8",
    )
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, provider, **changes)
        with pytest.raises(ConfigError, match=says):
            await Pipeline.load(file, out="out").run()
        assert provider.requests == 0


async def test_a_recorded_teacher_matches_by_inputs_that_the_prompt_has(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        recorded = {"jsonl": "rows.jsonl", "match": ["text", "question"], "text": "text"}
        file = write(tmp_path, provider, teachers={"main": {"recorded": recorded}})
    with pytest.raises(ConfigError) as caught:
        Pipeline.load(file)
    assert "teachers.main.recorded.match" in str(caught.value)
    assert "the prompt 'say' of steps[0] has no input 'question'" in str(caught.value)


# --- what is said beside the figures


async def test_confidences_money_and_leaks_of_a_student(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        teachers = {"main": teacher(provider, price=PRICE)}
        file = write(tmp_path, provider, teachers=teachers, student=STUDENT)
        manifest = await Pipeline.load(file, out="out").run()
    evaluation = manifest.evaluation
    assert evaluation is not None
    assert evaluation.money is not None
    student, main = named(evaluation, "student"), named(evaluation, "main")
    assert student.confidences is not None
    assert student.confidences.rows == evaluation.rows
    assert evaluation.contamination == f"none of {evaluation.rows} held-out rows"
    assert [note.split(":")[0] for note in evaluation.notes] == ["few rows"]
    spent_usd = manifest.spend.usd
    assert spent_usd is not None
    assert evaluation.money.spent_usd == pytest.approx(spent_usd)
    assert evaluation.money.rows == manifest.counts.kept
    assert main.usd_per_1000 is not None
    assert isinstance(main.pays_off_after, int)
    assert main.pays_off_after == pytest.approx(1000 * spent_usd / main.usd_per_1000, abs=1)


async def test_a_source_that_has_changed_since_the_run_is_told(tmp_path: Path) -> None:
    async with FakeTeacher().serve() as provider:
        await Pipeline.load(write(tmp_path, provider, student=STUDENT), out="out").run()
        same = await Pipeline.reopen("out").evaluate()
        more = [{**ROWS[0], "id": f"new{i}", "text": f"new{i} is k0"} for i in range(3)]
        write(tmp_path, provider, [*ROWS, *more], student=STUDENT)
        changed = await Pipeline.reopen("out").evaluate()
    assert same.evaluation is not None
    assert changed.evaluation is not None
    assert [note.split(":")[0] for note in same.evaluation.notes] == ["few rows"]
    assert changed.evaluation.notes[-1].startswith("the source has changed since the run: it had")


async def test_every_answer_is_kept_beside_the_evaluation_and_goes_with_it(tmp_path: Path) -> None:
    async with FakeTeacher(rates={"500": 0.2}).serve() as provider:
        file = write(tmp_path, provider, limits={"max_failed": 0.5}, student=STUDENT)
        manifest = await Pipeline.load(file, out="out").run()
        evaluation = manifest.evaluation
        assert evaluation is not None
        assert evaluation.left_out > 0
        assert evaluation.predictions in manifest.files
        kept = read_predictions(tmp_path / "out" / "predictions.parquet")
        for one in evaluation.contestants:
            ((seed, given),) = kept.answers[one.name].items()
            assert (seed, len(given)) == (0, evaluation.rows)
            right = sum(str(kept.gold[row]) == answer for row, answer in given.items())
            assert right == round(accuracy(one) * evaluation.rows)
        alone = Pipeline.load(file, out="out", overrides=["evaluate=null"])
        assert "predictions.parquet" not in (await alone.run(offline=True)).files
    assert not (tmp_path / "out" / "predictions.parquet").exists()


async def test_spans_of_a_teacher_are_scored_as_they_are(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 6, "label": "x"}]
    rows = [
        {
            **row,
            "text": f"so. The answer is {orjson.dumps(spans if i % 2 else []).decode()}",
            "n": i,
            "gold": spans,
        }
        for i, row in enumerate(ROWS)
    ]
    source = {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["n"]}}
    step = {"use": "rationale", "with": {"teacher": "main", "prompt": "say"}}
    exam = {"on": "test", "ask": "rationale", "gold": "gold", "metrics": ["span_f1"]}
    async with FakeTeacher().serve() as provider:
        file = write(
            tmp_path, provider, rows, source=source, steps=[step], evaluate={**exam, "bootstrap": 9}
        )
        evaluation = await result(Pipeline.load(file, out="out"))
        main = named(evaluation, "main")
        assert 0.4 < main.metrics["span_f1"].value < 0.9
        assert main.answered == evaluation.rows
        numbers = write(
            tmp_path,
            provider,
            rows,
            source=source,
            steps=[step],
            evaluate={**exam, "metrics": ["numeric_match"]},
        )
        with pytest.raises(UserError, match=r"numeric_match needs a number in gold, but 'gold' of"):
            await Pipeline.load(numbers, out="other").run()


async def test_a_recorded_teacher_is_called_so(tmp_path: Path) -> None:
    lines = [{"text": row["text"], "answer": str(row["gold"])} for row in ROWS]
    (tmp_path / "answers.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    recorded = {"recorded": {"jsonl": "answers.jsonl", "match": "text", "text": "answer"}}
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, provider, teachers={"main": recorded}, student=STUDENT)
        evaluation = await result(Pipeline.load(file, out="out"))
    assert {one.name: one.recorded for one in evaluation.contestants} == {
        "majority class": False,
        "main": True,
        "student": False,
    }
    assert named(evaluation, "main").pays_off_after == "never"


async def test_a_student_is_not_trained_on_held_out_rows_unless_that_is_allowed(
    tmp_path: Path,
) -> None:
    twice = [*ROWS, *({**row, "id": f"again-{row['id']}"} for row in ROWS)]
    source = {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["id"]}}
    async with FakeTeacher().serve() as provider:
        file = write(tmp_path, provider, twice, source=source, student=STUDENT)
        with pytest.raises(NothingToLearn, match="rows are the same as a held-out one"):
            await Pipeline.load(file, out="out").run()
        allowed = Pipeline.load(file, out="out", overrides=["student.allow_leaks=true"])
        manifest = await allowed.run()
    assert manifest.evaluation is not None
    assert "rows are the same as a held-out one" in manifest.evaluation.contamination
    assert manifest.student is not None
    assert manifest.student["leaks"] == manifest.evaluation.contamination
    card = (tmp_path / "out" / "student" / "README.md").read_text(encoding="utf-8")
    assert "* leaks: " in card


OTHER_WORDS = {"other": "{{ text }}", "wrong": "{{ text }} and the answer is 1"}


async def test_teachers_are_asked_in_other_words_and_worst_and_agreement_are_told(
    tmp_path: Path,
) -> None:
    for name, template in OTHER_WORDS.items():
        (tmp_path / f"{name}.md.j2").write_text(SAY.replace("{{ text }}", template), "utf-8")
    words = {"ask": ["other", "wrong"]}
    asked = {"on": "test", "ask": "label", "gold": "gold", "bootstrap": 20, "paraphrases": words}
    async with FakeTeacher().serve() as provider:
        pipeline = Pipeline.load(write(tmp_path, provider, evaluate=asked), out="out")
        forecast = pipeline.plan().as_json()
        evaluation = await result(pipeline)
    (main,) = evaluation.wordings
    assert list(main.by_wording) == ["as it is", "other", "wrong"]
    of_one = sum(row["gold"] == 1 for row in ROWS) / 60
    assert main.by_wording["other"].value == 1
    assert main.worst.value == main.by_wording["wrong"].value == pytest.approx(of_one, abs=0.2)
    assert main.agreement.value == main.worst.value
    assert main.spread.value == pytest.approx(1 - main.worst.value)
    assert named(evaluation, "main").metrics["accuracy"].value == 1  # as before
    assert [call["step"] for call in forecast["calls"]].count("label (evaluation)") == 3


def test_words_that_cannot_stand_in_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "more.md.j2").write_text(
        SAY.replace("[text]", "[text, more]") + "{{ more }}", "utf-8"
    )
    (tmp_path / "label.md.j2").write_text(SAY.replace("output: text", "output: label"), "utf-8")
    words = {"ask": ["more", "label", "none", "say"], "student": ["say"]}
    asked = {"on": "test", "ask": "label", "gold": "gold", "paraphrases": words}
    file = write(tmp_path, FakeTeacher(), evaluate=asked, student=STUDENT)
    with pytest.raises(ConfigError) as refused:
        Pipeline.load(file, out="out")
    for said in (
        "paraphrases.ask: more: has the inputs ['more'], which say has not",
        "paraphrases.ask: label: is of output 'label'",
        "paraphrases.ask: none: there is no prompt 'none'",
        "paraphrases.ask: say: is what the step asks anyway",
        "paraphrases.student: needs a student that takes a prompt",
    ):
        assert said in str(refused.value)
