"""A fixed suite of general questions: is a reply right? Pure.

    suite = read_suite(path)
    suite.items[0].right("It is 42.")        # True

A row is a JSON object: `prompt`, `answer`, and if you like `id`, `kind` (each has figures of its
own), `type`, `choices` and `reference` (a text whose likelihood is measured). Some models write
whole sentences, others are brief; what is counted is whether the answer is there, except where the
form is what was asked for. So these are not the types of `synthkd.answers`, which take an answer
that stands behind a cue or alone.

type     a reply is right if
number   the last number of its first line is the answer
text     its first line has the answer, or one of a list of them, as whole words
choice   of the `choices` its first line names the answer and no other
list     its parts between commas or on lines are those of the answer, in order
exact    it is the answer, character for character
json     it is the answer as JSON
lines    its lines are those of the answer, character for character
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthkd.errors import SourceError
from synthkd.evaluate.matching import number_of
from synthkd.text import normalised, without_punctuation

Form = Literal["number", "text", "choice", "list", "exact", "json", "lines"]
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_THOUGHT = "</think>"


class Item(BaseModel):
    """One question."""

    model_config = ConfigDict(frozen=True)

    id: str | int | None = None
    kind: str = "all"
    prompt: Annotated[str, Field(min_length=1)]
    type: Form = "text"
    answer: Any
    choices: list[str] = []
    reference: str | None = None

    @model_validator(mode="after")
    def _answerable(self) -> Item:
        listed = isinstance(self.answer, list) and self.answer
        fits = {
            "number": number_of(self.answer) is not None,
            "list": listed,
            "lines": listed,
            "json": True,
            "choice": self.answer in self.choices,
            "exact": isinstance(self.answer, str) and bool(self.answer.strip()),
            "text": all(isinstance(a, str) and _words(a) for a in self._accepted),
        }
        if not fits[self.type]:
            more = f" among the choices {self.choices}" if self.type == "choice" else ""
            raise ValueError(f"answer {self.answer!r:.80} is none of type {self.type}{more}")
        return self

    @property
    def _accepted(self) -> list[Any]:
        return self.answer if isinstance(self.answer, list) and self.answer else [self.answer]

    def right(self, reply: str | None) -> bool:
        """Whether a reply is right; None = there is none."""
        said = (reply or "").rpartition(_THOUGHT)[2].strip()
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        first = lines[0] if lines else ""
        match self.type:
            case "number":
                numbers = _NUMBER.findall(first)
                return bool(numbers) and number_of(numbers[-1]) == number_of(self.answer)
            case "text":
                return any(_names(first, one) for one in self._accepted)
            case "choice":
                return [one for one in self.choices if _names(first, one)] == [self.answer]
            case "list":
                parts = [_words(part) for part in re.split(r"[,\n]", said)]
                return parts == [_words(str(one)) for one in self.answer]
            case "exact":
                return bool(said == self.answer.strip())
            case "lines":
                return lines == [str(one) for one in self.answer]
            case "json":
                return _json(said) == (self.answer,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The questions of a file."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def read_suite(file: Path) -> Suite:
    """The suite in a file of JSON lines.

    Raises:
        SourceError: a line is no such row, or there is none.
    """
    raw = file.read_bytes()
    items = []
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            items.append(Item.model_validate(orjson.loads(line)))
        except ValidationError as error:
            (first, *_) = error.errors()
            where = ".".join(map(str, first["loc"]))
            said = f"{where}: {first['msg']}" if where else first["msg"]
            raise SourceError(f"{file}, line {number}: {said}") from None
        except orjson.JSONDecodeError as error:
            raise SourceError(f"{file}, line {number} is no JSON object: {error}") from None
    if not items:
        raise SourceError(f"{file} has no rows: a suite needs `prompt` and `answer` in each")
    return Suite(name=file.name, sha256=hashlib.sha256(raw).hexdigest(), items=tuple(items))


def _words(text: str) -> str:
    return normalised(without_punctuation(text))


def _names(line: str, answer: str) -> bool:
    """Whether the line has the answer as whole words."""
    return f" {_words(answer)} " in f" {_words(line)} "


def _json(text: str) -> tuple[Any] | None:
    """The value, if the text is JSON, in a code fence or not; None = it is none."""
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", text)
    try:
        return (json.loads(bare),)
    except (ValueError, RecursionError):  # it is not, or is brackets without end
        return None
