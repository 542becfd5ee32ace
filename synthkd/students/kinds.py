"""Which module trains and loads which kind of student."""

from __future__ import annotations

from pathlib import Path

from synthkd.config import NetworkConfig
from synthkd.errors import UserError
from synthkd.students.artefact import Student, read_about
from synthkd.students.failures import explained
from synthkd.students.lesson import Lesson, Tell


def train(lesson: Lesson, tell: Tell) -> None:
    """Train the student in this process, unless the lesson's folder holds it already.

    Args:
        lesson: what, on which rows, how.
        tell: told from time to time how far it is.

    Raises:
        NothingToLearn: the rows cannot teach it.
        UserError: settings, base model or tokenizer do not fit, or an extra is missing.
        TrainingFailed, DiskFailed: memory, numbers or the disk gave out.
    """
    if isinstance(lesson.config, NetworkConfig):
        with explained(lesson.work):
            _train(lesson, tell)
    else:
        _train(lesson, tell)


def _train(lesson: Lesson, tell: Tell) -> None:
    match lesson.config.kind:
        case "linear":
            from synthkd.students import linear

            linear.train(lesson)
        case "sft":
            from synthkd.students import sft

            sft.train(lesson, tell)
        case "dpo":
            from synthkd.students import dpo

            dpo.train(lesson, tell)
        case "seq2seq":
            from synthkd.students import seq2seq

            seq2seq.train(lesson, tell)
        case "encoder":
            from synthkd.students import encoder

            encoder.train(lesson, tell)
        case "hosted":  # it needs a purse: see `synthkd.students.hosted.student`
            raise TypeError("a hosted student is trained by its provider, not in this process")


def load(folder: Path) -> Student:
    """The student in a folder. Loading runs nothing that the folder holds.

    Raises:
        UserError: there is no whole student, or it cannot be loaded here.
    """
    match read_about(folder)["kind"]:
        case "linear":
            from synthkd.students import linear

            return linear.load_linear(folder)
        case "sft" | "dpo":
            from synthkd.students import causal

            return causal.load(folder)
        case "seq2seq":
            from synthkd.students import seq2seq

            return seq2seq.load(folder)
        case "encoder":
            from synthkd.students import classifier

            return classifier.load(folder)
        case "hosted":
            from synthkd.students.hosted.student import load_hosted

            return load_hosted(folder)
        case kind:
            raise UserError(f"{folder} holds a student of kind {kind!r}, which is not known here")
