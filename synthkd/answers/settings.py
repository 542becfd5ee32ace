"""`AnswerSettings`: the block `answer:` of a step, a gate or the evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthkd.text import equivalent

AnswerType = Literal["number", "choice", "label", "equation", "set", "list", "text"]

DEFAULT_CUES = ("So the answer is", "The answer is", "Answer:")
"""The wording of the chain-of-thought prompts of 2022 that most templates still follow."""
DEFAULT_STOP_AT = ("\n\nQ:", "\nQ:", "\nQuestion:", "\nPremise:")
"""How the next example begins in the usual few-shot prompts, so that a run-on model writes it."""
LISTED = frozenset({"choice", "label"})
"""The types whose answers come from a list."""
NUMERIC = frozenset({"number", "equation"})
"""The types whose canonical spelling is a number."""


class AnswerSettings(BaseModel):
    """What an answer is, where it stands in a reply, and what counts as the same."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    type: AnswerType | None = None
    """By default `choice` where there are choices or labels, else `text`."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 1e-6
    """How far apart two numbers may be, times the larger one where that is above 1."""
    percent: Literal["unit", "hundredths"] = "unit"
    """What "50%" is: 50, as any number with a unit; or 0.5."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals; the other one, and spaces, group thousands."""
    items: Literal["number", "choice", "label", "equation", "text"] = "text"
    """What a `set` or a `list` is made of."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Between items; by default a semicolon, or else commas and "and", or bullets."""
    choices: str | None = None
    """The field with the row's list of choices, in the order of their letters (a), (b), ..."""
    labels: list[str] | None = None
    """The choices, where they are the same for all rows."""
    cue: tuple[str, ...] = DEFAULT_CUES
    r"""What the answer stands behind; without it, an answer in \boxed{} counts. An empty list: the
    whole reply is the answer."""
    take: Literal["only", "first", "last"] = "only"
    """Of several cues: all must have one answer; or the one whose answer counts."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """Markers of an invented next question; the first one that occurs ends the reply."""

    @model_validator(mode="after")
    def _fits_the_type(self) -> AnswerSettings:
        if self.choices is not None and self.labels is not None:
            raise ValueError("must have at most one of choices (a field), labels (a list)")
        if not all(self.cue):
            raise ValueError("cue must name texts that stand before the answer, or none: []")
        if self.labels is not None:
            if not self.labels or not all(map(str.strip, self.labels)):
                raise ValueError("labels must name at least one, and none that is blank")
            if len({equivalent(label) for label in self.labels}) != len(self.labels):
                raise ValueError("labels must differ in more than case, spaces and underscores")
        if self.type == "label" and self.choices is None and not self.labels:
            raise ValueError("type label needs labels (a list), or choices (a field with one)")
        return self

    def type_for(self, choices: object) -> AnswerType:
        """The type, where it is left to whether there are choices."""
        return self.type or ("text" if choices is None else "choice")
