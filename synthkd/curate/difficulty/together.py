"""`difficulty.together`: instructions that were made from each other, judged in one question.

Judges give one number to nearly everything that they see alone. DEITA (arXiv 2312.15685) shows a
model all evolutions of one instruction at once, to be ranked and scored together, so that what is
harder gets more. Rows belong together that descend from the same rows of the source, or that have
the same value in a field (`group`).

    - use: instruct.evolve
    - {use: difficulty.together, with: {teacher: judge}}

The order in which they are shown is drawn, so that the last one is not always the hardest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, NamedTuple

from pydantic import Field, field_validator

from synthkd.curate.difficulty.measured import DifficultySettings, fields_of
from synthkd.curate.gates.answers import ROUNDING
from synthkd.curate.judges.rubrics import Rubric, RubricSetting
from synthkd.curate.judges.verdict import opinion
from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.io.spool import Table
from synthkd.recipes.replies import Loss
from synthkd.recipes.spread import spread_of
from synthkd.rows import Json, Row, canonical
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion

BY = "difficulty.together"
LEAST, MOST = 1, 10
"""A rubric with another scale is stretched to it."""
AT_ONCE = 500
"""Questions whose answers are in memory at once."""


class TogetherSettings(DifficultySettings):
    """Settings of `difficulty.together`."""

    teacher: str
    """The judge."""
    group: str | None = None
    """The field whose value says which rows belong together; null = the rows that they descend
    from."""
    most: Annotated[int, Field(ge=2, le=20)] = 6
    """Instructions in a question; of a larger group several are asked."""
    rubric: RubricSetting = Field(default="judges/difficulty", validate_default=True)
    """A rubric of one criterion: its name, or the rubric itself."""
    prompt: str = "judges/together"
    """The prompt; the shipped one shows the instructions and the criterion."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""

    @field_validator("rubric")
    @classmethod
    def _one_criterion(cls, rubric: Rubric) -> Rubric:
        if len(rubric.criteria) != 1:
            raise ValueError(f"must have one criterion, got {len(rubric.criteria)}")
        return rubric

    def of_items(self, n: int) -> Rubric:
        """The rubric with the criterion for each of n instructions."""
        (criterion,) = self.rubric.criteria
        items = [{**criterion.model_dump(), "name": f"item_{place}"} for place in range(1, n + 1)]
        return Rubric.model_validate({"criteria": items})


class Item(NamedTuple):
    """An instruction and its row's place in the table."""

    place: int
    text: str


class Found(NamedTuple):
    """What the judge makes of a row."""

    difficulty: float
    parts: dict[str, Json]
    keys: tuple[str, ...]


@table_step(
    BY,
    needs=lambda config: [*fields_of(config), *([config.group] if config.group else [])],
    gives=lambda config: config.gives,
    supplies=("instructions", "criteria", "about"),
    asks=lambda config, rows: rows,
)
def together(table: Table, kit: TableKit, config: TogetherSettings, /) -> Iterator[Row]:
    """Have instructions of one origin judged in one question.

    Gives `difficulty` (1 to 10) and `difficulty_parts`: how many were judged together, the judge's
    reasoning. Rejects `too_easy`, `no_instruction`, and all of a question whose answer cannot be
    read: `no_verdict`, `off_scale`, `refused` and its kin; they fail where nobody answers. Memory:
    the instructions of all rows, and what the judge says.
    """
    questions = _questions(table, kit, config)
    found: dict[int, Found | RowError] = {}
    for size in sorted({len(question) for question in questions}):
        alike = (question for question in questions if len(question) == size)
        while some := list(islice(alike, AT_ONCE)):
            for question, outcomes in zip(some, _judged(some, size, kit, config), strict=True):
                for item, outcome in zip(question, outcomes, strict=True):
                    found[item.place] = outcome
    yield from _with(table, found, kit, config)
    told = [
        (one.difficulty, item.text)
        for question in questions
        for item in question
        if isinstance(one := found[item.place], Found)
    ]
    kit.note({"questions": len(questions), **spread_of(config.into, told, width=1)})


def _questions(table: Table, kit: TableKit, config: TogetherSettings) -> list[list[Item]]:
    """The instructions that are asked about together, in an order that was drawn."""
    groups: dict[bytes, list[Item]] = {}
    for place, row in enumerate(table):
        try:
            text = config.asked_in(row)
        except RowError:
            continue
        of: Json = list(row.roots) if config.group is None else row.fields.get(config.group)
        groups.setdefault(canonical(of), []).append(Item(place, text))
    questions = []
    for group in groups.values():
        n = -(-len(group) // config.most)
        for part in range(n):  # as even as may be: the last one is no single row
            question = group[part * len(group) // n : (part + 1) * len(group) // n]
            kit.rng.shuffle(question)
            questions.append(question)
    return questions


def _judged(
    questions: Sequence[Sequence[Item]], size: int, kit: TableKit, config: TogetherSettings
) -> Iterator[list[Found | RowError]]:
    """What the judge says of each instruction of each question; all are of one size."""
    standard = config.of_items(size)
    replies = kit.ask_all(
        config.prompt,
        [
            {
                "instructions": [item.text for item in question],
                "criteria": config.rubric.shown,
                "about": config.rubric.about,
            }
            for question in questions
        ],
        teacher=config.teacher,
        schema=standard.reply_schema if config.structured else None,
    )
    for reply in replies:
        if not isinstance(reply, Completion | TeacherError):
            yield [reply] * size
            continue
        said = opinion(reply, standard, teacher=config.teacher, sample=0).reading
        if said.scores is None:
            error = reply if isinstance(reply, TeacherError) else _rejected(said.loss)
            yield [error] * size
            continue
        assert isinstance(reply, Completion)  # noqa: S101  what has scores is one
        parts: dict[str, Json] = {"by": BY, "together": size, "reasoning": said.reasoning}
        yield [
            Found(_points(said.scores[one.name], one.scale), parts, reply.keys)
            for one in standard.criteria
        ]


def _points(number: int, scale: tuple[int, int]) -> float:
    least, most = scale
    return round(LEAST + (MOST - LEAST) * (number - least) / (most - least), 9)


def _rejected(loss: Loss | None) -> Rejected:
    assert loss is not None  # noqa: S101  what has no scores has a loss
    return Rejected(*loss)


def _with(
    table: Table,
    found: dict[int, Found | RowError],
    kit: TableKit,
    config: TogetherSettings,
) -> Iterator[Row]:
    """The rows with what was found; the others go, each with its reason."""
    for place, row in enumerate(table):
        one = found.get(place)
        if one is None:
            kit.reject(row, "no_instruction", f"{config.question} is empty, or no text")
        elif isinstance(one, Rejected):
            kit.reject(row, one.reason, one.detail)
        elif isinstance(one, RowError):
            kit.fail(row, one)
        elif config.keep_at_least is not None and one.difficulty < config.keep_at_least - ROUNDING:
            least = f"keep_at_least is {config.keep_at_least:g}"
            kit.reject(row, "too_easy", f"{config.into} is {one.difficulty:.4g}, {least}")
        else:
            made: dict[str, Json] = {config.into: one.difficulty, config.parts: one.parts}
            yield row.with_fields(**made).with_made_by(*one.keys)
