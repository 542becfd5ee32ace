"""The folder of a student, whatever its kind: whole or not there, and made once.

    student.json    kind, fingerprint, settings, versions, what it was made from
    README.md       the card

and beside them what its kind keeps. It is written beside its place and renamed. The fingerprint
covers all that decides what is learnt; a folder that holds it is loaded, not trained again.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson

from synthkd.config import LearnerConfig
from synthkd.errors import UserError
from synthkd.rows import Json, canonical

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ABOUT, CARD = "student.json", "README.md"


class Student(Protocol):
    """A student that is trained and loaded."""

    @property
    def folder(self) -> Path:
        """Where it is kept."""

    @property
    def fingerprint(self) -> str:
        """What was learnt, and how: SHA-256."""

    @property
    def about(self) -> Mapping[str, Any]:
        """The content of student.json."""

    def predict(self, texts: Sequence[str]) -> Sequence[str | None]:
        """The answer to each text; None = what it wrote holds no answer."""


@runtime_checkable
class Probabilistic(Protocol):
    """A student that also says how sure it is."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n_texts, n_labels) each row sums to 1; the largest belongs to what it predicts."""


def confidences(student: Student, texts: Sequence[str]) -> list[float] | None:
    """The probability of the answer to each text; None = the student gives none."""
    if not isinstance(student, Probabilistic):
        return None
    return [float(row.max()) for row in student.predict_proba(texts)]


def fingerprint(
    version: int,
    config: LearnerConfig,
    packages: Iterable[str],
    rows: Iterable[Sequence[Json]],
    *more: Json,
) -> str:
    """SHA-256 over all that decides what is learnt.

    Args:
        version: raised when the same rows and settings would give another student.
        config: its settings; which fields the values came from is left out, and so is how many
            others there are.
        packages: whose versions matter.
        rows: the values learnt from, in order.
        more: further things that matter, such as the identity of a base model.
    """
    settled = config.model_dump(mode="json", exclude={"seeds", *type(config).FIELDS})
    hashed = hashlib.sha256(canonical([version, settled, versions(packages), *more]))
    for row in rows:
        hashed.update(canonical(list(row)))
    return hashed.hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each."""
    return {name: importlib.metadata.version(name) for name in packages}


def holds(folder: Path, mark: str) -> bool:
    """Whether this very student is in the folder, as far as student.json tells."""
    try:
        return bool(orjson.loads((folder / ABOUT).read_bytes())["fingerprint"] == mark)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return False  # nothing, or something damaged: it is replaced by a whole one


def read_about(folder: Path) -> dict[str, Any]:
    """The content of student.json.

    Raises:
        UserError: there is no student, or it is damaged.
    """
    try:
        about: dict[str, Any] = orjson.loads((folder / ABOUT).read_bytes())
        about["kind"], about["fingerprint"]
        blocks = about["config"], about.get("made_from", {})
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no trained student: {error.filename} is missing") from None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise damaged(folder, error) from None
    if not all(isinstance(block, dict) for block in blocks):
        raise damaged(folder, f"{ABOUT}: config and made_from are not both mappings")
    return about


def damaged(folder: Path, error: Exception | str) -> UserError:
    """What to say of a student that cannot be loaded."""
    return UserError(f"{folder} holds a damaged student ({error}): train it again")


@contextmanager
def written(folder: Path, about: Mapping[str, Any], card: str) -> Iterator[Path]:
    """A new folder to write into, which takes `folder`'s place when the body has ended well.

    Args:
        folder: another student that is there is replaced.
        about: for student.json.
        card: for README.md.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beginning = f".{folder.name}-"
    for left in folder.parent.glob(f"{glob.escape(beginning)}*"):
        shutil.rmtree(left)  # by a training that was killed here: as large as a model
    with tempfile.TemporaryDirectory(prefix=beginning, dir=folder.parent) as temporary:
        beside = Path(temporary) / "new"
        beside.mkdir()
        yield beside
        (beside / CARD).write_text(card, encoding="utf-8")
        (beside / ABOUT).write_bytes(
            orjson.dumps(about, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        )
        if folder.exists():
            folder.rename(Path(temporary) / "old")  # goes with the temporary folder
        beside.rename(folder)


def origin(made_from: Mapping[str, str]) -> str:
    """The card's list of what a student was made from."""
    return "\n".join(f"* {name}: {value}" for name, value in made_from.items()) or "* not stated"
