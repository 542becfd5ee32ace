"""A trained student as a teacher: which folder, who that is for the ledger. It is opened above.

Students lie above teachers, so whoever opens teachers passes in how a student is opened:
`synthkd.students.local.open_student`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from synthkd.config import LocalConfig, TeacherConfig
from synthkd.errors import UserError
from synthkd.io.paths import expanded, places
from synthkd.rows import canonical
from synthkd.teachers.request import Completion, Identity, Request, Teacher
from synthkd.teachers.vllm.hashes import Hashes
from synthkd.teachers.vllm.identity import REMEMBERED, hash_of_folder
from synthkd.teachers.vllm.model import check_model

ABOUT = "student.json"
"""What tells a student's folder from any other model's."""
SIMULATED = "SIMULATED"
"""How cards call a simulated teacher."""


class InProcess(Teacher, Protocol):
    """A teacher that holds memory of this process."""

    async def free(self) -> None:
        """Give the memory back; the next question takes it again."""
        ...


OpenStudent = Callable[[LocalConfig, Path], InProcess]
"""The block and its folder -> who answers; nothing is loaded before the first question."""


def find_student(name: str, config: LocalConfig, base: Path) -> Path:
    """The folder of a `student` block, checked as far as that is quick.

    Args:
        name: of the teacher.
        config: its `student` block.
        base: the pipeline file's folder, where relative paths are looked up too.

    Raises:
        UserError: no such folder, or neither a student nor a model in it.
    """
    setting = f"teachers.{name}.student.folder"
    if config.folder is None:
        raise UserError(f"{setting}: there is none, so nobody answers before the first round ends")
    tried = _places(config, base)
    folder = next((place for place in tried if place.is_dir()), None)
    if folder is None:
        looked = ", ".join(str(place) for place in tried)
        raise UserError(
            f"{setting}: there is no folder {config.folder}; looked for {looked}. A student lies in"
            " the folder of the run that trained it, as DIR/student"
        )
    if not folder.joinpath(ABOUT).is_file():
        check_model(folder, setting)
    if (hosted := about(folder)).get("kind") == "hosted":  # asked here, its cost would be unseen
        raise UserError(
            f"{setting}: the weights of this student are at a provider: ask it there, with"
            f" `endpoint` and `model: {hosted.get('model')}` in place of `student`"
        )
    return folder


def with_student_of(folder: Path, configs: Mapping[str, TeacherConfig]) -> dict[str, TeacherConfig]:
    """The teachers that are the student of the round before, with the folder that it lies in.

    Args:
        folder: of the student.
        configs: all teachers.
    """
    found = {}
    for name, config in configs.items():
        if config.student is not None and config.student.round is not None:
            block = config.student.model_copy(update={"folder": str(folder.resolve())})
            found[name] = config.model_copy(update={"student": block})
    return found


class NobodyYet:
    """Stands for the student of the round before while there is none.

    Args:
        name: of the teacher.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    async def complete(self, request: Request) -> Completion:
        """Nothing.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"teachers.{self._name} is the student of the round before, and round 0 has none: name"
            " who answers in round 0 in `student.folder`, or take a step that does without"
        )


def student_identities(
    configs: Mapping[str, LocalConfig], base: Path, left: threading.Event
) -> dict[str, Identity]:
    """Who answers: config, tokenizer and weights, and what was learnt; not where the folder lies.

    Args:
        configs: the `student` blocks, by the teacher's name; one without a folder is left out.
        base: the pipeline file's folder.
        left: set when nobody waits any more.

    Raises:
        UserError: as `find_student`, or a file cannot be read.
    """
    hashes = Hashes(REMEMBERED, left)
    found = {}
    for name, config in configs.items():
        if config.folder is None:
            continue
        folder = find_student(name, config, base)
        try:
            who = {"student": f"sha256:{hash_of_folder(folder, hashes)}"}
        except OSError as error:
            raise UserError(
                f"teachers.{name}.student: {error.filename} cannot be read: {error.strerror}"
            ) from None
        if learnt := about(folder).get("fingerprint"):
            who["learnt"] = str(learnt)
        found[name] = Identity(served_by=canonical(who).decode())
    hashes.save()
    return found


def about(folder: Path) -> dict[str, Any]:
    """The content of student.json; empty = there is none that can be read."""
    try:
        found: dict[str, Any] = orjson.loads((folder / ABOUT).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def taught_by(config: LocalConfig, base: Path) -> str:
    """Who taught the student, as its card says it; empty = nobody says so."""
    for place in _places(config, base):
        told = about(place).get("made_from")
        if told and isinstance(told, dict):
            return str(told.get("teachers", ""))
    return ""


def is_simulated(config: TeacherConfig, base: Path) -> bool:
    """Whether the teacher is simulated, or a student that learnt from a simulated one."""
    if config.simulated is not None:
        return True
    return config.student is not None and SIMULATED in taught_by(config.student, base)


def is_taught_by_simulated(about: Mapping[str, Any]) -> bool:
    """Whether a student learnt from a simulated teacher, as its student.json says."""
    made_from = about.get("made_from")
    return isinstance(made_from, dict) and SIMULATED in str(made_from.get("teachers", ""))


def _places(config: LocalConfig, base: Path) -> list[Path]:
    if config.folder is None:
        return []
    written = os.path.expanduser(expanded(config.folder))  # noqa: PTH111  before it is joined
    return places(written, base)
