"""How a document is read: passage by passage, and what becomes of the replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.graphs.passages import Span, passages
from synthkd.kit import Kit
from synthkd.recipes.documents.pair import USUAL_PASSAGES, DocumentSettings, Pair
from synthkd.recipes.replies import Loss, discard_all, give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.schemas import Schema
from synthkd.steps import inputs_of
from synthkd.teachers.request import Completion


def _asked_for(name: str, properties: Mapping[str, Any]) -> Schema:
    """The schema that goes out with a question, whatever prompt asks it."""
    return Schema.of(
        f"documents_{name}",
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
    )


_TEXT = {"type": "string", "minLength": 1}
_PAIR = {
    "type": "object",
    "properties": {"instruction": _TEXT, "response": _TEXT},
    "required": ["instruction", "response"],
    "additionalProperties": False,
}
QUESTIONS = _asked_for("questions", {"questions": {"type": "array", "items": _TEXT}})
ANSWER = _asked_for("answer", {"answer": {"type": ["string", "null"]}})
PAIRS = _asked_for("pairs", {"pairs": {"type": "array", "items": _PAIR}})
VERDICT = _asked_for("judge", {"supported": {"type": "boolean"}, "alone": {"type": "boolean"}})


@dataclass(slots=True, kw_only=True)
class Reading:
    """What is made of a document, and what went wrong."""

    row: Row
    kit: Kit
    document: str
    spans: Sequence[Span]
    replies: list[Completion | TeacherError] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    def value(self, reply: Completion | TeacherError) -> tuple[Any, tuple[str, ...]]:
        """What a reply says, as JSON (None = nothing), and its keys in the ledger.

        Raises:
            TeacherError: nobody replied: a document with a hole is none, and asking again may help.
        """
        self.replies.append(reply)
        if isinstance(reply, TeacherError):
            raise reply
        if (loss := loss_of(reply)) is not None:
            self.losses.append(loss)
            return None, reply.keys
        return None if reply.shaped is None else reply.shaped.value, reply.keys

    def lose(self, loss: Loss | None) -> bool:
        """Whether something is lost, which is noted."""
        if loss is not None:
            self.losses.append(loss)
        return loss is not None


def reading_of(row: Row, kit: Kit, config: DocumentSettings) -> Reading:
    """The document of a row, in passages.

    Raises:
        RowError: it is no text.
        Rejected: it has no sentence.
    """
    text = row.fields.get(config.text)
    if not isinstance(text, str):
        raise RowError(f"{config.text} must be a text, got {text!r:.80}")
    spans = passages(text, config.tokens)
    if not spans:
        raise Rejected("no_text", f"{config.text} has no sentence: {text!r:.80}")
    kit.count("passages", len(spans))
    return Reading(row=row, kit=kit, document=text, spans=spans)


async def passage_replies(
    reading: Reading, config: DocumentSettings, prompt: str, schema: Schema
) -> list[Completion | TeacherError]:
    """What the teacher says to each passage, in their order."""
    names = reading.kit.prompts[prompt].inputs
    texts = [reading.document[start:end] for start, end in reading.spans]
    inputs = [inputs_of(reading.row, names, passage=text, count=config.count) for text in texts]
    return await reading.kit.ask_each(prompt, inputs, teachers=[config.teacher], schema=schema)


def gives(config: DocumentSettings) -> Iterable[str]:
    """The fields of a pair."""
    return config.instruction, "input", config.output, "task", "evidence", "passage"


def usual_calls(config: DocumentSettings, a_passage: int) -> int:
    """Questions about a usual document, the judge's included; for the forecast."""
    return USUAL_PASSAGES * (a_passage + (config.count if config.judge is not None else 0))


async def borne_out(
    reading: Reading, config: DocumentSettings, pairs: Sequence[Pair]
) -> list[Pair]:
    """Those that the judge lets pass; without a judge, all. Loses `not_borne_out`, `not_alone`."""
    if config.judge is None:
        return list(pairs)
    judged = [pair for pair in pairs if not pair.abstains]
    names = reading.kit.prompts[config.judge_prompt].inputs
    inputs: list[dict[str, Json]] = [
        inputs_of(
            reading.row, names, passage=pair.text, question=pair.instruction, answer=pair.answer
        )
        for pair in judged
    ]
    if not judged:
        return list(pairs)
    replies = await reading.kit.ask_each(
        config.judge_prompt, inputs, teachers=[config.judge.teacher], schema=VERDICT
    )
    refused: set[int] = set()
    for pair, reply in zip(judged, replies, strict=True):
        value, _ = reading.value(reply)
        said = f"{pair.answer:.200} (to: {pair.instruction:.120})"
        if value is None:  # a pair that nobody could judge is no pair; why stands in the losses
            refused.add(id(pair))
        elif not value["supported"]:
            refused.add(id(pair))
            reading.losses.append(Loss("not_borne_out", said))
        elif not value["alone"]:
            refused.add(id(pair))
            reading.losses.append(Loss("not_alone", said))
    return [pair for pair in pairs if id(pair) not in refused]


def ended(reading: Reading, pairs: Sequence[Pair], nothing: str) -> None:
    """Book the losses of a document.

    Args:
        reading: of it.
        pairs: what is left.
        nothing: the reason where nothing is left and nothing was lost.

    Raises:
        Rejected: no pair is left; for the most frequent reason.
    """
    if pairs:
        discard_all(reading.kit, reading.losses)
    elif reading.losses:
        give_up(reading.replies, reading.losses)
    else:
        raise Rejected(nothing, f"none in {len(reading.spans)} passages")
