from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from synthkd.config import LinearConfig
from synthkd.errors import NothingToLearn, UserError
from synthkd.students import linear
from synthkd.students.linear import LinearStudent, fingerprint, load_linear, train_linear

CONFIG = LinearConfig(kind="linear", text="question", label="intent")
TEXTS = [
    f"{start} {thing}"
    for start in ("where is", "I lost", "please send", "help with")
    for thing in ("my card", "my new card", "the exchange rate", "the rate of a transfer")
]
LABELS = ["card" if "card" in text else "rate" for text in TEXTS]


def train(folder: Path, **changes: Any) -> LinearStudent:
    given: dict[str, Any] = {
        "texts": TEXTS,
        "labels": LABELS,
        "config": CONFIG,
        "folder": folder,
        "made_from": {"source": "tickets.jsonl", "teacher": "main (simulated)"},
    }
    return train_linear(**{**given, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "student"
    train(folder)
    return folder


def test_it_learns_and_answers_as_before_when_loaded(folder: Path) -> None:
    student = load_linear(folder)
    assert student.predict(["a card?", "what rate"]) == ["card", "rate"]
    sure = student.predict_proba(TEXTS)
    assert sure.shape == (len(TEXTS), 2)
    np.testing.assert_allclose(sure.sum(axis=1), 1)
    assert student.labels == ("card", "rate")
    assert student.predict([]) == []


def test_the_folder_and_its_card(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "labels.json",
        "model.skops",
        "student.json",
    ]
    assert [file.name for file in folder.parent.iterdir()] == ["student"]  # nothing half-written
    card = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("main (simulated)", "tickets.jsonl", "rows: 16", "`question`", "load_linear"):
        assert said in card


def test_twice_trained_is_the_same_student(folder: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "again")
    assert again.fingerprint == load_linear(folder).fingerprint
    first = load_linear(folder).predict_proba(TEXTS)
    assert np.array_equal(again.predict_proba(TEXTS), first)


def test_a_complete_student_is_not_trained_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "unfitted", lambda config: pytest.fail("trained again"))
    assert train(folder).predict(["my card"]) == ["card"]


def test_another_student_replaces_what_was_there(tmp_path: Path) -> None:
    first = train(tmp_path / "student")
    second = train(
        tmp_path / "student", labels=["x" if label == "card" else "y" for label in LABELS]
    )
    assert (first.labels, second.labels) == (("card", "rate"), ("x", "y"))
    assert load_linear(tmp_path / "student").labels == ("x", "y")
    assert [file.name for file in tmp_path.iterdir()] == ["student"]


def test_a_damaged_student_is_trained_again(tmp_path: Path) -> None:
    train(tmp_path / "student")
    (tmp_path / "student" / "student.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        load_linear(tmp_path / "student")
    assert train(tmp_path / "student").predict(["my card"]) == ["card"]


def test_a_training_that_dies_leaves_no_half_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "student")
    monkeypatch.setattr(linear, "_card", lambda about, labels: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "student", texts=[text.upper() for text in TEXTS])
    assert load_linear(tmp_path / "student").predict(["my card"]) == ["card"]
    assert [file.name for file in tmp_path.iterdir()] == ["student"]


def test_what_the_fingerprint_sees() -> None:
    mark = fingerprint(TEXTS, LABELS, CONFIG)
    changed = CONFIG.model_copy(update={"regularisation": 1.0})
    renamed = CONFIG.model_copy(update={"label": "label"})
    assert fingerprint(TEXTS, LABELS, renamed) == mark
    assert fingerprint(TEXTS, LABELS, changed) != mark
    assert fingerprint(TEXTS[::-1], LABELS[::-1], CONFIG) != mark
    # The border between two texts counts, not only their letters one after another.
    assert fingerprint(["ab", "c"], ["x", "y"], CONFIG) != fingerprint(
        ["a", "bc"], ["x", "y"], CONFIG
    )


@pytest.mark.parametrize(
    ("texts", "labels", "says"),
    [
        ([], [], "no rows to learn from"),
        (["a", "b"], ["x", "x"], "all 2 rows have the label 'x' in 'intent'"),
        (["a", "b"], ["x", 3], "needs text in 'intent': row 1 has 3"),
        (["a", None], ["x", "y"], "needs text in 'question': row 1 has None"),
        (["?", " "], ["x", "y"], "no text in 'question' has a letter"),
    ],
)
def test_rows_that_teach_nothing(
    texts: list[Any], labels: list[Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(NothingToLearn, match=says):
        train(tmp_path / "student", texts=texts, labels=labels)
    assert not (tmp_path / "student").exists()


class Evil:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("owned"),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    train(tmp_path / "student")
    (tmp_path / "student" / "model.skops").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"not a skops file.*pickle could run code"):
        load_linear(tmp_path / "student")
    assert not Path("owned").exists()


def tampered(file: Path, module: str, name: str) -> None:
    """Make the classifier in a model file a function of another module."""
    with zipfile.ZipFile(file) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    schema = orjson.loads(parts["schema.json"])
    schema["__module__"], schema["__class__"], schema["__loader__"] = module, name, "TypeNode"
    with zipfile.ZipFile(file, "w") as archive:
        for part, content in {**parts, "schema.json": orjson.dumps(schema)}.items():
            archive.writestr(part, content)


def test_a_file_that_names_foreign_types_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "student")
    tampered(tmp_path / "student" / "model.skops", "os", "system")
    with pytest.raises(UserError, match=r"types that a student does not have.*os\.system"):
        load_linear(tmp_path / "student")


def test_model_and_labels_that_do_not_belong_together(tmp_path: Path) -> None:
    train(tmp_path / "student")
    (tmp_path / "student" / "labels.json").write_bytes(b'["card","weather"]')
    with pytest.raises(UserError, match="do not belong together"):
        load_linear(tmp_path / "student")


@pytest.mark.parametrize("part", ["student.json", "labels.json", "model.skops"])
def test_a_missing_part_is_named(part: str, tmp_path: Path) -> None:
    train(tmp_path / "student")
    (tmp_path / "student" / part).unlink()
    with pytest.raises(UserError, match=f"no trained student: .*{part} is missing"):
        load_linear(tmp_path / "student")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained student"):
        load_linear(tmp_path)
