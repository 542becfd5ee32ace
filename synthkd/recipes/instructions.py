"""What a row of instructions asks: `instruction`, and `input` where there is one."""

from __future__ import annotations

from synthkd.errors import MissingField, Rejected, RowError
from synthkd.rows import Row


def asked_in(row: Row, instruction: str, more: str | None) -> str:
    """The instruction, then on lines of its own what it is about, if the row has that.

    Args:
        row: any.
        instruction: the field with it.
        more: the field with the input; "" or null in it, or no such field, is none.

    Raises:
        MissingField: there is no instruction.
        RowError: a field holds no text.
        Rejected: `no_instruction`: it is blank.
    """
    if instruction not in row.fields:
        raise MissingField(
            f"the row has no field {instruction!r}; it has {', '.join(sorted(row.fields))}"
        )
    texts = [row.fields[instruction], row.fields.get(more) if more is not None else None]
    for name, text in zip((instruction, more), texts, strict=True):
        if text is not None and not isinstance(text, str):
            raise RowError(f"{name} must be text, got {text!r:.80}")
    told = [str(text).strip() for text in texts if text]
    if not isinstance(texts[0], str) or not texts[0].strip():
        raise Rejected("no_instruction", f"{instruction} is empty")
    return "\n\n".join(text for text in told if text)
