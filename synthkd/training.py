"""The training stage of a run: its final rows go to a student of `synthkd.students`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from synthkd.cards import teacher_in_words
from synthkd.config import EncoderConfig, HostedConfig, NetworkConfig, StudentConfig
from synthkd.flow import in_thread
from synthkd.folder import LEARNING, SEEDS, RunFolder
from synthkd.io.sources import Source
from synthkd.leaks import LEAKS, leaks_among, leaks_told
from synthkd.plan import Plan, gold_field
from synthkd.rows import Json, canonical
from synthkd.students import kinds
from synthkd.students.artefact import Student, read_about
from synthkd.students.hosted import student as hosted
from synthkd.students.job import train_apart
from synthkd.students.lesson import SIDES, HeldOutRow, Lesson, Side, Tell, write_held_out
from synthkd.students.ready import ready
from synthkd.survey import rows_of
from synthkd.teachers.budget import Purse
from synthkd.text import answer_text

TOLD = (
    *("kind", "fingerprint", "labels", "rows", "tokens", "steps", "truncated"),
    *("model", "job", "usd", "hacking"),
)
"""What the manifest takes from student.json, where it is there."""


async def train(
    plan: Plan,
    source: Source,
    *,
    rows_file: Path,
    folder: Path,
    work: Path,
    offline: bool,
    purse: Purse,
    tell: Tell,
    nth: int = 0,
) -> Student:
    """Train the student that the plan asks for on the rows, into the folder.

    Args:
        plan: with a `student` block.
        source: surveyed; its held-out rows are what training is checked on.
        rows_file: the final rows.
        folder: where the student is kept.
        work: what is in it outlives a kill of the run, until the student is published.
        offline: ask no hub for the base model, and no provider.
        purse: pays a provider that trains it.
        tell: takes a line on how far it is.
        nth: which of `student.seeds`, from 0.

    Raises:
        NothingToLearn: the rows cannot teach it.
        TrainingFailed: it broke off.
        BudgetReached: a provider may charge more than is left.
    """
    assert plan.config.student is not None  # noqa: S101  asked only where there is one
    asked = plan.config.student
    asked = asked.model_copy(update={"seed": asked.seed + nth, "seeds": 1})
    config = await in_thread(lambda: ready(asked, plan.folder, offline=offline))
    lesson = Lesson(
        config=config,
        rows=rows_file,
        held_out=work / "held_out.jsonl",
        made_from=_made_from(plan),
        folder=folder,
        work=work,
    )
    held_out = await held_out_rows(plan, source, SIDES)
    await in_thread(lambda: write_held_out(lesson.held_out, held_out))
    leaks = await in_thread(lambda: leaks_among(config, lesson.examples(), held_out))
    if leaks is not None:
        tell(f"held-out rows among the rows to learn from: {leaks}")
        lesson = replace(lesson, made_from={**lesson.made_from, LEAKS: leaks})
    if isinstance(config, NetworkConfig):
        await train_apart(lesson, tell)
    elif isinstance(config, HostedConfig):
        await hosted.train(lesson, tell, purse, offline=offline)
    else:
        await in_thread(lambda: kinds.train(lesson, tell))
    return await in_thread(lambda: kinds.load(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A student that differs from the run's by its seed alone."""

    seed: int
    folder: Path
    fingerprint: str


class Train(Protocol):
    """Trains the nth of `student.seeds` on a file of rows; see `train`."""

    def __call__(
        self, *, rows_file: Path, folder: Path, work: Path, nth: int = 0
    ) -> Awaitable[Student]:
        """The student, in its folder."""


async def further_seeds(
    config: StudentConfig, folder: RunFolder, train: Train, rows_file: Path
) -> AsyncGenerator[Sibling, None]:
    """Students of the same rows and settings by other seeds, one at a time in memory.

    Args:
        config: says how many.
        folder: of the run.
        train: trains one of them.
        rows_file: the final rows.
    """
    for nth in range(1, config.seeds):
        seed = config.seed + nth
        own = folder.seeds / str(seed)
        student = await train(
            rows_file=rows_file, folder=own / "student", work=own / LEARNING, nth=nth
        )
        yield Sibling(seed=seed, folder=own / "student", fingerprint=student.fingerprint)


def siblings_in(folder: Path) -> list[Sibling]:
    """The further students in the folder of a run, by seed.

    Raises:
        UserError: one of them is damaged.
    """
    places = {int(p.parent.name): p for p in folder.glob(f"{SEEDS}/*/student")}
    return [
        Sibling(seed=seed, folder=places[seed], fingerprint=read_about(places[seed])["fingerprint"])
        for seed in sorted(places)
    ]


def student_in_words(student: Student, siblings: Iterable[Sibling] = ()) -> Mapping[str, Any]:
    """What the manifest says about the student, and about those of other seeds."""
    told = {name: student.about[name] for name in TOLD if name in student.about}
    if seeds := {str(one.seed): one.fingerprint for one in siblings}:
        told["seeds"] = seeds
    leaks = leaks_told(student.about)
    return told if leaks is None else {**told, LEAKS: leaks}


async def held_out_rows(plan: Plan, source: Source, sides: Iterable[Side]) -> list[HeldOutRow]:
    """The rows that were held out and have text for the student, side by side.

    Args:
        plan: with a `student` block.
        source: surveyed.
        sides: which of them.
    """
    assert plan.config.student is not None  # noqa: S101  asked only where there is one
    if plan.config.source.holdout is None:
        return []
    _, asked_with = plan.config.student.asked_with
    gold = gold_field(plan) or ""
    domain = plan.config.rounds.domain or ""
    found = []
    for side in sides:
        async for rows in rows_of(source, side):
            for row in rows:
                text = row.fields.get(asked_with)
                if isinstance(text, str):
                    answer = _gold_text(plan.config.student, row.fields.get(gold))
                    found.append(
                        HeldOutRow(
                            id=row.id,
                            side=side,
                            text=text,
                            gold=answer,
                            domain=answer_text(row.fields.get(domain)),
                        )
                    )
    return found


def _gold_text(config: StudentConfig, value: Json) -> str | None:
    """Gold as a student would write it: spans as JSON text."""
    if isinstance(config, EncoderConfig) and config.spans is not None:
        return value if isinstance(value, str) or value is None else canonical(value).decode()
    return answer_text(value)


def _made_from(plan: Plan) -> Mapping[str, str]:
    asked = dict.fromkeys(name for bound in plan.steps for name in bound.teachers)
    return {
        "pipeline": plan.config.name,
        "source": plan.config.source.path,
        "teachers": "; ".join(teacher_in_words(plan, name) for name in asked) or "none",
    }
