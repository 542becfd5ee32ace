"""The encoder student, on models of a few thousand parameters made from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from synthkd.errors import NothingToLearn, UserError
from synthkd.pipeline import Pipeline
from synthkd.students import encoder, kinds
from synthkd.students.artefact import Probabilistic
from synthkd.students.lesson import HeldOutRow, Lesson
from synthkd.students.spans import as_json
from tests.students.lessons import lesson

THINGS = ("card", "rate", "loan")
ROWS = [
    {"text": f"{start} {thing}", "label": f"about_{thing}"}
    for start in ("my", "the", "a", "one", "where is the", "no")
    for thing in THINGS
]
CITIES = [
    {
        "text": f"{start} {city} please",
        "where": [{"start": len(start) + 1, "end": len(start) + 1 + len(city), "label": "city"}],
    }
    for start in ("to", "from", "I go to")
    for city in ("Rome", "Oslo", "Rio de Janeiro", "Łódź")
]
TINY = {"hidden_size": 32, "layers": 1, "heads": 2, "tokenizer": "bpe", "vocabulary": 300}
BLOCK: dict[str, Any] = {
    "kind": "encoder",
    "text": "text",
    "label": "label",
    "scratch": TINY,
    "epochs": 15,
    "batch_size": 6,
    "learning_rate": 5e-3,
    "max_length": 32,
}
SPANS = {"label": None, "spans": "where", "epochs": 25, "max_length": 64}


def made_lesson(
    folder: Path,
    rows: Iterable[Mapping[str, Any]] = ROWS,
    held_out: Iterable[HeldOutRow] = (),
    **changes: Any,
) -> Lesson:
    return lesson(folder, {**BLOCK, **changes}, rows, held_out)


def taught(folder: Path, *given: Any, **changes: Any) -> tuple[Any, list[str]]:
    """The student, and what was told while it was trained."""
    made = made_lesson(folder, *given, **changes)
    told: list[str] = []
    kinds.train(made, told.append)
    return kinds.load(made.folder), told


def dev_row(text: str, gold: str) -> HeldOutRow:
    return HeldOutRow(id=text, side="dev", text=text, gold=gold)


DEV = [dev_row(f"that {thing}", f"About {thing}.") for thing in THINGS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    taught(folder, ROWS, DEV, best_by="accuracy")
    return folder


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("finder")
    dev = [dev_row("off to Rome please", as_json([])), dev_row("to Oslo please", as_json([]))]
    return taught(folder, CITIES, dev, **SPANS)[0]


def test_it_learns_and_answers_with_labels(trained: Path) -> None:
    student: Any = kinds.load(trained / "student")
    assert isinstance(kinds.load(trained / "student"), Probabilistic)
    assert student.predict([row["text"] for row in ROWS]) == [row["label"] for row in ROWS]
    sure = student.predict_proba(["that card", "that rate", "x " * 500])
    assert sure.shape == (3, 3)
    np.testing.assert_allclose(sure.sum(axis=1), 1)
    assert student.predict([]) == []
    # What one text is answered does not depend on the others beside it.
    alone = student.predict_proba(["that card"])
    np.testing.assert_allclose(sure[:1], alone, atol=1e-5)


def test_the_folder_and_its_card(trained: Path) -> None:
    student: Any = kinds.load(trained / "student")
    about = student.about
    assert (about["rows"], about["labels"], about["truncated"]) == (18, 3, 0)
    # Gold of the dev rows is spelt in another way, and counts as the same.
    assert about["dev"]["accuracy"] == about["dev"]["macro_f1"] == 1.0
    assert about["steps"] == 15 * 3
    suffixes = {path.suffix for path in student.folder.iterdir()}
    assert suffixes == {".json", ".safetensors", ".md"}
    card = (student.folder / "README.md").read_text(encoding="utf-8")
    for said in ("labels texts", "rows of a test", "`label`", "AutoModelForSequenceClassification"):
        assert said in card


def test_twice_trained_is_the_same_student_and_the_third_time_it_is_there(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    again, _ = taught(tmp_path, ROWS, DEV, best_by="accuracy")
    first = trained / "student"
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again.folder / name).read_bytes() == (first / name).read_bytes()
    monkeypatch.setattr(encoder, "_load_base", lambda *_: pytest.fail("trained again"))
    assert taught(trained, ROWS, DEV, best_by="accuracy")[0].fingerprint == again.fingerprint


def test_an_alarm_is_told_and_kept_when_the_student_learns_what_is_wrong(tmp_path: Path) -> None:
    # The teacher calls loans rates; one row says what they are, so the student has the label.
    wrong = [
        {**row, "label": "about_rate"} if row["label"] == "about_loan" else row for row in ROWS
    ]
    dev = [dev_row(row["text"], row["label"]) for row in ROWS if "loan" in row["text"]]
    asked = {"golden": "likelihood", "rows": 7, "evals": 2, "ses": 1}
    changes = {"hacking": asked, "evaluate_every_steps": 4, "max_steps": 44, "schedule": "constant"}
    student, told = taught(tmp_path, [*wrong, *ROWS[2:3]], dev, **changes)
    found = student.about["hacking"]
    steps = [one["step"] for one in found["checkpoints"]]
    assert steps == list(range(4, 45, 4))
    proxies = [one["proxy"] for one in found["checkpoints"]]
    goldens = [one["golden"] for one in found["checkpoints"]]
    assert proxies[-1] > proxies[0]
    assert goldens[-1] == pytest.approx(-student.about["dev"]["loss"], abs=1e-4)
    assert found["best"] == steps[goldens.index(max(goldens))]
    assert found["alarms"], goldens
    last = found["alarms"][-1]
    assert last["worse"] == pytest.approx(
        max(goldens[: steps.index(last["at"]) - 1]) - goldens[steps.index(last["at"])], abs=1e-5
    )
    (first, *_) = (line for line in told if "teacher hacking" in line)
    assert f"at step {found['alarms'][0]['at']}" in first
    card = (student.folder / "README.md").read_text(encoding="utf-8")
    assert "teacher hacking: at step" in card
    assert "step 44, the last, is kept: `best_by` would keep the best on dev" in card


def test_hacking_needs_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"student.hacking: no rows with an answer are held out"):
        taught(tmp_path, hacking={})
    with pytest.raises(ValueError, match="of spans choose `likelihood`"):
        taught(tmp_path, CITIES, [], **SPANS, hacking={})


def test_it_finds_spans(finder: Any) -> None:
    asked = [row["text"] for row in CITIES]
    found = finder.find(asked)
    assert [[span._asdict() for span in spans] for spans in found] == [
        row["where"] for row in CITIES
    ]
    assert finder.predict(asked[:1]) == ['[{"end":7,"label":"city","start":3}]']
    assert finder.predict([]) == []
    assert not isinstance(finder, Probabilistic)  # of tokens it would be, not of answers


def test_a_finder_is_measured_by_whole_spans(finder: Any) -> None:
    # It finds a city in both texts, and gold has none.
    assert finder.about["dev"]["accuracy"] == 0
    assert finder.about["labels"] == 1
    assert finder.about["inexact_spans"] == finder.about["overlapping"] == 0
    card = (finder.folder / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForTokenClassification" in card


def test_spans_that_overlap_or_are_cut_off_are_counted(tmp_path: Path) -> None:
    wide = {"text": "to Rome " + "on " * 40 + "Oslo"}
    where = [(3, 7, "city"), (4, 6, "city"), (len(wide["text"]) - 4, len(wide["text"]), "city")]
    spans = [dict(zip(("start", "end", "label"), each, strict=True)) for each in where]
    student, told = taught(
        tmp_path, [{**wide, "where": spans}], **{**SPANS, "epochs": 1, "max_length": 16}
    )
    about = student.about
    assert (about["overlapping"], about["inexact_spans"], about["truncated"]) == (1, 1, 1)
    assert "truncated: 1" in told[0]
    assert student.find([wide["text"]]) is not None  # longer than it can read: no crash


def test_labels_that_only_dev_has_are_said_and_count_as_wrong(tmp_path: Path) -> None:
    student, told = taught(
        tmp_path,
        ROWS,
        [*DEV, dev_row("lost", "lost_phone")],
        best_by="macro_f1",
        evaluate_every_steps=9,
    )
    assert "dev rows have 1 labels that no row to learn from has" in "\n".join(told)
    assert "'lost_phone'" in "\n".join(told)
    assert student.about["dev"]["accuracy"] <= 0.75
    assert student.about["dev"]["loss"] < 10  # of the rows whose label it has


@pytest.mark.parametrize(
    ("rows", "changes", "says"),
    [
        ([], {}, "no rows to learn from"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], {}, "all 2 rows have the"),
        ([{"text": "a", "label": "x"}, {"text": "b"}], {}, "no text in 'label', got None"),
        ([{"text": "a", "label": 3}, {"text": "b", "label": 4}], {}, "no text in 'label', got 3"),
        ([{"label": "x"}, {"label": "y"}], {}, "no text in 'text'"),
        ([{"text": "a", "where": []}] * 2, SPANS, "no row has a span in 'where'"),
        (
            [{"text": "a", "where": [{"start": 0, "end": 2, "label": "x"}]}],
            SPANS,
            "no part of the text",
        ),
    ],
)
def test_rows_that_teach_nothing(
    rows: list[dict[str, Any]], changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(NothingToLearn, match=says):
        taught(tmp_path, rows, **changes)
    assert not (tmp_path / "student").exists()


def test_best_by_needs_dev_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows with an answer are held out as dev"):
        taught(tmp_path, best_by="accuracy")


def test_a_base_that_is_not_there_or_is_a_pickle(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder ./nothing"):
        taught(tmp_path / "a", scratch=None, base="./nothing")
    base = tmp_path / "base"
    base.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((trained / "student" / name).read_bytes())
    (base / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"are pickles \(pytorch_model.bin\)"):
        taught(tmp_path / "b", scratch=None, base=str(base))


def test_a_trained_encoder_is_a_base_for_other_labels(trained: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "label": row["label"][-4:] == "card"} for row in ROWS]
    named = [{**row, "label": "card" if row["label"] else "other"} for row in rows]
    base = trained / "student"
    student, _ = taught(tmp_path, named, scratch=None, base=str(base), epochs=8)
    assert student.labels == ("card", "other")
    assert student.predict(["my card", "my loan"]) == ["card", "other"]
    with pytest.raises(UserError, match="max_length 64 is more than the 32 tokens"):
        taught(tmp_path, named, scratch=None, base=str(base), max_length=64)


def test_a_damaged_student_is_trained_again(trained: Path, tmp_path: Path) -> None:
    student, _ = taught(tmp_path, epochs=1)
    (student.folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged student"):
        kinds.load(student.folder)
    assert taught(tmp_path, epochs=1)[0].predict(["my card"])


def test_a_student_loads_no_pickle(trained: Path, tmp_path: Path) -> None:
    student, _ = taught(tmp_path, epochs=1)
    (student.folder / "model.safetensors").unlink()
    (student.folder / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(UserError, match="damaged student"):
        kinds.load(student.folder)
    about = orjson.loads((student.folder / "student.json").read_bytes())
    assert about["kind"] == "encoder"


async def test_a_pipeline_of_spans_from_source_to_evaluation(tmp_path: Path) -> None:
    cities = [f"{name}{end}" for name in ("Rom", "Oslo", "Par", "Łódź") for end in ("", "ia", "is")]
    rows = [
        {"id": f"{start}{city}", "text": f"{start} {city}", "where": [span_of(start, city)]}
        for start in ("to", "from", "off to", "I see")
        for city in cities
    ]
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    file = tmp_path / "spans.yaml"
    block = {**BLOCK, **SPANS, "scratch": {**TINY, "tokenizer": "characters"}, "epochs": 10}
    content = {
        "name": "spans",
        "source": {
            "jsonl": str(source),
            "id": ["id"],
            "holdout": {"dev": 0.2, "test": 0.3, "by": ["text"]},
        },
        "steps": [{"use": "gate.length", "with": {"field": "text", "min_chars": 2}}],
        "export": {"format": "rows", "keep": ["text", "where"]},
        "student": block,
        "evaluate": {"on": "test", "gold": "where", "metrics": ["span_f1"]},
    }
    file.write_bytes(orjson.dumps(content))  # YAML reads JSON too
    manifest = await Pipeline.load(file, out=tmp_path / "out").run()
    assert manifest.evaluation is not None
    who = {one.role: one for one in manifest.evaluation.contestants}
    assert who["student"].metrics["span_f1"].value > 0.5
    about = orjson.loads((tmp_path / "out" / "student" / "student.json").read_bytes())
    assert 0 < about["dev"]["accuracy"] <= 1
    # `synthkd train` of the same rows, with other settings.
    sooner = Pipeline.reopen(tmp_path / "out", overrides=["student.epochs=1", "student.seed=1"])
    trained = await sooner.train()
    assert trained.student is not None
    assert trained.student["steps"] < about["steps"]
    assert trained.dataset == manifest.dataset


def span_of(start: str, city: str) -> dict[str, Any]:
    return {"start": len(start) + 1, "end": len(start) + 1 + len(city), "label": "city"}
