"""The linear student: TF-IDF of words and characters into a logistic regression. CPU only.

    student = train_linear(texts, labels, config, Path("out/student"), made_from={"source": "..."})
    student = load_linear(Path("out/student"))
    student.predict(["Where is my card?"])    # ['card_arrival']

Its folder holds

    model.skops     the fitted pipeline; skops files hold numbers and type names, never code
    labels.json     the labels, in the order of `predict_proba`'s columns
    student.json    fingerprint, settings, versions, what it was made from
    README.md       the card

and appears whole or not at all; see `synthkd.students.artefact`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import orjson

from synthkd.config import LinearConfig
from synthkd.errors import NothingToLearn, UserError
from synthkd.rows import Json
from synthkd.students import artefact
from synthkd.students.artefact import damaged, holds, origin, read_about, written
from synthkd.students.lesson import Lesson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
"""Raised when the same rows and settings would give another student; old ones are trained anew."""
TRUSTED_TYPES: list[str] = []
"""Types a model file may name beyond those that skops itself trusts: none is needed."""
MODEL, LABELS = "model.skops", "labels.json"
SCHEMA = "schema.json"
"""What skops calls the part that is no array."""
PACKAGES = ("scikit-learn", "skops", "numpy", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearStudent:
    """A trained linear student."""

    folder: Path
    fingerprint: str
    labels: tuple[str, ...]
    """Sorted; the columns of `predict_proba`."""
    about: Mapping[str, Any]
    """The content of student.json."""
    model: Any
    """The scikit-learn pipeline; scikit-learn has no types of its own."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text."""
        return [self.labels[place] for place in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n_texts, n_labels) float64, each row sums to 1."""
        import numpy as np

        if not texts:
            return np.empty((0, len(self.labels)))
        return np.asarray(self.model.predict_proba(list(texts)), dtype=np.float64)


def train(lesson: Lesson) -> None:
    """Train a linear student on the lesson's rows, unless its folder holds it already.

    Raises:
        NothingToLearn: as `train_linear`, or a value that is no text.
    """
    config = lesson.config
    assert isinstance(config, LinearConfig)  # noqa: S101  that is how it came here
    texts: list[str] = []
    labels: list[str] = []
    for row in lesson.examples():
        texts.append(_text(row.id, row.fields.get(config.text), config.text))
        labels.append(_text(row.id, row.fields.get(config.label), config.label))
    train_linear(texts, labels, config, lesson.folder, lesson.made_from)


def _text(row_id: str, value: Json, field: str) -> str:
    if not isinstance(value, str):
        raise NothingToLearn(
            f"student: row {row_id} has no text in {field!r}, got {value!r:.80}: a student learns"
            " from text; choose another field, or reject such rows by a step"
        )
    return value


def train_linear(
    texts: Sequence[str],
    labels: Sequence[str],
    config: LinearConfig,
    folder: Path,
    made_from: Mapping[str, str],
) -> LinearStudent:
    """Train a student, or load it when `folder` already holds this very one.

    Args:
        texts: what the student sees.
        labels: what it learns to answer; not necessarily right.
        config: its settings.
        folder: where it is kept; one that holds another student is replaced.
        made_from: what the card says about the origin of the rows, such as source, pipeline and
            teachers; a teacher that is simulated must be called so here.

    Raises:
        NothingToLearn: no rows, fewer than two labels, or a text or label that is no text.
    """
    _check(texts, labels, config)
    mark = fingerprint(texts, labels, config)
    if holds(folder, mark):
        # A damaged one is trained anew: nothing else would mend it.
        with suppress(UserError):
            return load_linear(folder)
    model = unfitted(config)
    model.fit(list(texts), list(labels))
    about = {
        "kind": "linear",
        "fingerprint": mark,
        "rows": len(texts),
        "labels": len(set(labels)),
        "config": config.model_dump(),
        "made_from": dict(made_from),
        "versions": artefact.versions(PACKAGES),
    }
    _write(folder, model, about)
    return load_linear(folder)


def load_linear(folder: Path) -> LinearStudent:
    """The student in a folder. Loading runs nothing that the folder holds.

    Raises:
        UserError: there is no whole student, or its model file is not one that can be trusted.
    """
    about = read_about(folder)
    try:
        labels = tuple(orjson.loads((folder / LABELS).read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no trained student: {error.filename} is missing") from None
    except (orjson.JSONDecodeError, TypeError) as error:
        raise damaged(folder, error) from None
    model = _load_model(folder / MODEL)
    if tuple(str(label) for label in getattr(model, "classes_", ())) != labels:
        raise UserError(f"{folder}: {MODEL} and {LABELS} do not belong together: train it again")
    return LinearStudent(
        folder=folder, fingerprint=about["fingerprint"], labels=labels, about=about, model=model
    )


def fingerprint(texts: Sequence[str], labels: Sequence[str], config: LinearConfig) -> str:
    """SHA-256 over all that decides what is learnt: rows, settings, library versions."""
    rows = zip(texts, labels, strict=True)
    return artefact.fingerprint(FORMAT, config, PACKAGES, rows)


def _check(texts: Sequence[str], labels: Sequence[str], config: LinearConfig) -> None:
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts and {len(labels)} labels")
    if not texts:
        raise NothingToLearn(
            "the student has no rows to learn from: `synthkd show` says where they were lost"
        )
    for name, values in ((config.text, texts), (config.label, labels)):
        for place, value in enumerate(values):
            if not isinstance(value, str):
                raise NothingToLearn(
                    f"the linear student needs text in {name!r}: row {place} has {value!r:.80}; "
                    "name another field or make it text in a step"
                )
    if not any(re.search(r"\w", text) for text in texts):
        raise NothingToLearn(
            f"no text in {config.text!r} has a letter or digit to learn from: name another field "
            "in student.text"
        )
    if len(set(labels)) == 1:
        raise NothingToLearn(
            f"all {len(labels)} rows have the label {labels[0]!r} in {config.label!r}: a student "
            "needs at least two labels to tell apart; read more rows, or leave `student` out"
        )


def unfitted(config: LinearConfig) -> Any:
    """The pipeline before it has seen a row.

    saga, because on 8,000 short texts with 77 labels it takes half the CPU time of lbfgs and
    newton-cg for the same accuracy, and it is serial, so its result does not depend on the number
    of threads (docs/log.md, 2026-11-22). Its tolerance of 0.01 ends about 15 passes over the rows.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(
        ngram_range=(1, 2),
        token_pattern=r"\w+",  # noqa: S106  a word of one letter is a word
        sublinear_tf=True,
        dtype=np.float32,
    )
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32
    )
    classifier = LogisticRegression(
        C=config.regularisation, solver="saga", tol=0.01, max_iter=1000, random_state=config.seed
    )
    return make_pipeline(make_union(words, characters), classifier)


def _skops() -> Any:
    """skops.io, imported without torch.

    To list the types that it trusts it imports every package of scikit-learn. One of them imports
    torch, where that is installed: 3 CPU seconds for nothing. So that one is taken for imported.
    """
    bridge = "sklearn.externals.array_api_compat.torch"
    if bridge not in sys.modules and "skops.io" not in sys.modules:
        sys.modules[bridge] = ModuleType(bridge)
        try:
            import skops.io
        finally:
            del sys.modules[bridge]
    import skops.io

    return skops.io


def _load_model(file: Path) -> Any:
    skops_io = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        foreign = sorted(set(skops_io.get_untrusted_types(file=file)) - set(TRUSTED_TYPES))
        if foreign:
            raise UserError(
                f"{file} names types that a student does not have: {foreign}; not loaded"
            )
        return skops_io.load(file, trusted=TRUSTED_TYPES)
    except FileNotFoundError:
        raise UserError(f"{file.parent} holds no trained student: {file.name} is missing") from None
    except BadZipFile:
        raise UserError(
            f"{file} is not a skops file; synthkd loads nothing else (a pickle could run code): "
            "train the student again"
        ) from None
    except UntrustedTypesFoundException as error:
        raise UserError(f"{file} names types that a student does not have: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error!r}): train the student again") from None


def _dump(model: Any, file: Path) -> None:
    """The model as a skops file; the same model gives the same bytes.

    skops names things by their place in memory, and its files bear the time: here they are numbered
    and bear none, so that a student that is trained again is the same one for the ledger.
    """
    with (
        ZipFile(BytesIO(_skops().dumps(model))) as made,
        # Deflated: the vocabulary is JSON, and 44 MB become 10.
        ZipFile(file, "w", compression=ZIP_DEFLATED, compresslevel=1) as kept,
    ):
        schema = orjson.loads(made.read(SCHEMA))
        numbers = _numbered(schema)
        kept.writestr(ZipInfo(SCHEMA), orjson.dumps(schema), ZIP_DEFLATED)
        arrays = {numbers[name]: name for name in made.namelist() if name in numbers}
        for new, name in sorted(arrays.items()):
            kept.writestr(ZipInfo(new), made.read(name), ZIP_DEFLATED)


def _numbered(schema: Any) -> dict[str, str]:
    """Number all places in memory in order of appearance; gives the arrays' new names."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            if (place := node.get("__id__")) is not None:
                node["__id__"] = numbers.setdefault(place, len(numbers))
            file = node.get("file")
            if isinstance(file, str) and file.endswith(".npy"):
                node["file"] = names.setdefault(file, f"{len(names)}.npy")
            if isinstance(stop_words := node.get("_stop_words_id"), dict):
                stop_words["content"] = "0"  # scikit-learn keeps a place in memory too
            todo += [value for value in node.values() if isinstance(value, dict | list)]
    return names


def _write(folder: Path, model: Any, about: Mapping[str, Any]) -> None:
    labels = [str(label) for label in model.classes_]
    with written(folder, about, _card(about, labels)) as beside:
        _dump(model, beside / MODEL)
        (beside / LABELS).write_bytes(orjson.dumps(labels, option=orjson.OPT_INDENT_2))


def _card(about: Mapping[str, Any], labels: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"""# A linear student

TF-IDF of words and characters into a logistic regression, trained by synthkd. It answers one of
{len(labels)} labels.

## Made from

{origin(about["made_from"])}
* rows: {about["rows"]}
* the student sees `{about["config"]["text"]}` and learns `{about["config"]["label"]}`

## Load

```python
from pathlib import Path
from synthkd.students.linear import load_linear

load_linear(Path(".")).predict(["a text"])
```

`{MODEL}` is a skops file: loading it runs no code.

## Labels

{chr(10).join(f"* {label}" for label in labels)}

## Settings

C = {about["config"]["regularisation"]}, seed {about["config"]["seed"]}; {versions}.
Fingerprint {about["fingerprint"]}.
"""
