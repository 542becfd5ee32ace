"""What a prompt is given of a row."""

from __future__ import annotations

from collections.abc import Iterable

from synthkd.errors import MissingField, Unrenderable
from synthkd.rows import Json, Row
from synthkd.teachers.parts import has_parts


def inputs_of(row: Row, names: Iterable[str], **computed: Json) -> dict[str, Json]:
    """The prompt's inputs: `computed` ones from the step, the others from the row's fields.

    Raises:
        MissingField: the row has no such field.
        Unrenderable: a field holds content parts that are no text.
    """
    try:
        inputs = {name: computed[name] if name in computed else row.fields[name] for name in names}
    except KeyError as error:
        raise MissingField(f"the row has no field {error.args[0]!r}") from error
    for name, value in inputs.items():
        if type(value) is not str and has_parts(value):
            raise Unrenderable(
                f"the field {name!r} holds content parts such as an image, and this step is for "
                "text: take a step that asks with images, or drop such rows before it"
            )
    return inputs
