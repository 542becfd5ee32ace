"""A pair of instruction and answer, and what would be wrong with it, checked against its document.

Both steps of documents give their pairs to `fault_of`; what it lets pass becomes a row by `told`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from synthkd.config import Share
from synthkd.graphs.ground import find
from synthkd.graphs.passages import Span
from synthkd.recipes.documents.held import evidence, hold
from synthkd.recipes.documents.languages import LanguageCode, language_of
from synthkd.recipes.documents.pointing import points_outside
from synthkd.recipes.replies import Loss
from synthkd.rows import Json
from synthkd.steps import StepSettings

Way = Literal["free", "span"]


class JudgeSettings(StepSettings):
    """Who looks at what words cannot show."""

    teacher: str
    """The judge: better of another family than the teacher that wrote the answer."""


USUAL_PASSAGES = 4
"""Of a document of about 700 words, for the forecast, which knows no document."""


class DocumentSettings(StepSettings):
    """What the steps that read documents have in common."""

    teacher: str
    """The teacher to ask."""
    text: str = "text"
    """The field with the document."""
    tokens: int = Field(default=256, ge=16)
    """The size of a passage, in tokens as `synthkd.graphs.passages.tokens_in` counts them."""
    count: Annotated[int, Field(ge=1, le=100)] = 3
    """How many are asked for at a passage; fewer are taken, more are not."""
    language: LanguageCode = "en"
    """Of the documents: whose words point outside, whose words say nothing (languages.yaml)."""
    share: Share = 0.6
    """The least share of an answer's new words that its passage must have, in whatever form."""
    numbers: bool = True
    """Whether every number of an answer must stand in its passage; off for sums worked out."""
    names: bool = True
    """Whether every name must; off for answers that translate them."""
    input: Literal["none", "passage"] = "none"
    """What the row's `input` is: nothing, so that the pair is learnt by heart, or the passage."""
    task: str | None = None
    """The row's task class; null = `closed_qa` with the passage as input and `open_qa` without."""
    judge: JudgeSettings | None = None
    """Who is asked, too, whether the passage bears the answer out and the pair can be understood
    alone; null = nobody."""
    judge_prompt: str = "documents/judge"
    """What the judge is asked with; gets passage, question and answer, and replies `supported` and
    `alone`."""
    instruction: str = "instruction"
    """The field for what is asked."""
    output: str = "output"
    """The field for the answer."""

    @property
    def rows_a_row(self) -> int:
        """Pairs of a usual document, at most; for the forecast."""
        return USUAL_PASSAGES * self.count

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees, passage by passage."""
        return [self.text]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a teacher made of a passage."""

    instruction: str
    answer: str
    document: str
    passage: int
    """Its number, from 0."""
    span: Span
    """The passage's, in characters of the document."""
    way: Way = "free"
    """How the answer came about."""
    keys: tuple[str, ...] = ()
    """Of the answers that it was made from, in the ledger."""
    abstains: bool = False
    """Whether it says that the passage does not answer the question: nothing to hold it against."""

    @property
    def text(self) -> str:
        """The passage."""
        return self.document[self.span[0] : self.span[1]]


def asked_wrongly(question: str, document: str, config: DocumentSettings) -> Loss | None:
    """What is wrong with a question before anybody answers it; None = nothing.

    Reasons: `says_nothing`, `points_outside`, `not_of_the_document` (a name or a number that it
    does not have).
    """
    if not says_something(question, config.language):
        return Loss("says_nothing", question[:200])
    if (phrase := points_outside(question, config.language)) is not None:
        return Loss("points_outside", f"{phrase!r} in: {question:.200}")
    held = hold(question, document, language=config.language)
    if off := [*(held.names if config.names else ()), *(held.numbers if config.numbers else ())]:
        return Loss("not_of_the_document", f"{', '.join(off)} in: {question:.200}")
    return None


def fault_of(pair: Pair, config: DocumentSettings) -> Loss | None:
    """What is wrong with an answer; None = nothing that words could show.

    Reasons: `points_outside`, `answers_itself` (the question says all of it), `says_nothing` (no
    word or number that could be looked for), `not_in_passage`, `number_not_in_passage`,
    `name_not_in_passage`, `too_little_in_passage`.
    """
    if pair.abstains:
        return None
    said = f"{pair.answer:.200} (to: {pair.instruction:.120})"
    if pair.way == "span":
        if find(pair.answer, pair.text) is None:
            return Loss("not_in_passage", said)
        if find(pair.answer, pair.instruction) is not None:
            return Loss("answers_itself", said)
        return None
    return _not_held(pair, config, said)


def _not_held(pair: Pair, config: DocumentSettings, said: str) -> Loss | None:
    """What is wrong with an answer in free words."""
    if phrase := points_outside(pair.answer, config.language, before=pair.instruction):
        return Loss("points_outside", f"{phrase!r} in: {said}")
    held = hold(pair.answer, pair.text, language=config.language, question=pair.instruction)
    if not says_something(pair.answer, config.language):
        return Loss("says_nothing", said)
    if not held.adds:
        return Loss("answers_itself", said)
    if held.numbers and config.numbers:
        return Loss("number_not_in_passage", f"{', '.join(held.numbers)} in: {said}")
    if held.names and config.names:
        return Loss("name_not_in_passage", f"{', '.join(held.names)} in: {said}")
    if held.share < config.share:
        return Loss("too_little_in_passage", f"{held.share:.2f}: {said}")
    return None


def says_something(text: str, language: str) -> bool:
    """Whether it has a word or a number that could be looked for."""
    words = language_of(language)
    return bool(words.content(text) or words.numbers_in(text))


def told(pair: Pair, config: DocumentSettings) -> dict[str, Json]:
    """The fields of the row that the pair becomes.

    `evidence` are {start, end} in characters of the document: the answer itself where it was
    copied, else the sentences that have most of its words. `passage` is the passage's number.
    """
    places: Iterable[Span] = () if pair.abstains else _evidence(pair, config)
    spans: list[Json] = [{"start": start, "end": end} for start, end in places]
    closed = config.input == "passage"
    return {
        config.instruction: pair.instruction,
        "input": pair.text if closed else "",
        config.output: pair.answer,
        "task": config.task or ("closed_qa" if closed else "open_qa"),
        "evidence": spans,
        "passage": pair.passage,
    }


def _evidence(pair: Pair, config: DocumentSettings) -> Iterator[Span]:
    start = pair.span[0]
    if pair.way == "span":
        place = find(pair.answer, pair.text)
        if place is not None:
            yield start + place.start, start + place.end
        return
    for begin, end in evidence(
        pair.answer, pair.text, language=config.language, question=pair.instruction
    ):
        yield start + begin, start + end
