"""`extract`: a document as a record of fields that a schema names, asked of one teacher or several.

    text: "Invoice No. 7 ... Total: 1.234,56 €"
    ->  record: {invoice_no: "7", total: {amount: 1234.56, currency: EUR}, due: null}
        readings: [{teacher: a, sample: 0, leaves: [{path: [total], state: value, ...}, ...]}]

Each value comes with the words of the document that say it, so that `extract.ground` can look them
up. A value has one spelling by its type; what has none is lost with its reason, and the rest of the
reply lives on. null is an answer: the document does not say it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from synthkd.config import Count, Samples, Teachers
from synthkd.errors import TeacherError, UserError
from synthkd.kit import Kit
from synthkd.recipes.replies import Loss, discard_all, give_up, readable
from synthkd.records.agreeing import Reading, agree
from synthkd.records.loading import Written, load_schema
from synthkd.records.reading import RecordShape, as_rows, read_record
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, inputs_of, step
from synthkd.teachers.request import Completion


class RecordSettings(StepSettings):
    """What every step on records has."""

    record: Written
    """The fields: `{name, fields}`, or the path of a YAML or JSON file of them."""
    readings: str = "readings"
    """The field with what each reply says of every value."""
    into: str = "record"
    """The field for the record."""

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the schema."""
        try:
            load_schema(self.record, folder)
        except UserError as error:
            yield f"record: {error}"


class ExtractSettings(RecordSettings):
    """Settings of `extract`."""

    teachers: Teachers
    """Whom to ask; the record is what most of all replies say, of equals the first."""
    prompt: str = "extract/record"
    """The prompt; gets the fields in words as its input `fields`, and the record's `name`."""
    samples: Samples = 1
    """Replies of each teacher."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    shape: bool = True
    """Whether the JSON Schema goes out with the question, and a reply in which no field can be read
    is asked for again, once; false for servers that take no schema."""


@step(
    "extract",
    gives=lambda config: [config.into, config.readings],
    supplies=("fields", "name"),
)
async def extract(row: Row, kit: Kit, config: ExtractSettings, /) -> AsyncIterator[Row]:
    """Ask for the fields of a document, each with its evidence; one record of all replies.

    Gives `into` (null for what has no value) and `readings`. Discards what a reply has and cannot
    be used: `unknown_field`, `cut`, and a value's reason, such as `ambiguous_date`. Rejects
    `no_record` where no reply has a field. Counts for each field how many replies have a value,
    null, nothing, or one that was lost.
    """
    schema = load_schema(config.record, kit.desk.folder)
    replies = await kit.ask_many(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, fields=[*schema.table], name=schema.name),
        teachers=config.teachers,
        samples=config.samples,
        schema=RecordShape.of_record(schema) if config.shape else None,
        longer=config.longer,
    )
    losses: list[Loss] = []
    readings: list[Reading] = []
    for place, reply in readable(_as_they_are(replies), losses):
        found = read_record(reply.text, schema)
        losses.extend(Loss(*fault) for fault in found.faults)
        if not found.leaves:
            continue
        teacher, sample = divmod(place, config.samples)
        readings.append(
            Reading(teacher=config.teachers[teacher], sample=sample, leaves=found.leaves)
        )
        for leaf in found.leaves:
            kit.count(f"{leaf.name}: {leaf.state}")
    if not readings:
        give_up(replies, losses)
    discard_all(kit, losses)
    told: dict[str, Json] = {config.into: agree(readings, schema).record}
    yield row.with_fields(**told, **{config.readings: readings_as_json(readings)})


def readings_as_json(readings: Sequence[Reading]) -> list[Json]:
    """Readings, for a row."""
    return [
        {"teacher": one.teacher, "sample": one.sample, "leaves": as_rows(one.leaves)}
        for one in readings
    ]


def _as_they_are(
    replies: Sequence[Completion | TeacherError],
) -> list[Completion | TeacherError]:
    """Without what the server's schema makes of them: our own reading takes more."""
    return [one._replace(shaped=None) if isinstance(one, Completion) else one for one in replies]
