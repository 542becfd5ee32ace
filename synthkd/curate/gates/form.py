"""`gate.format`: answers that must be JSON, Python, YAML, TOML or XML are parsed, never run.

The whole text, or what is in its code fences, goes to a parser: orjson and the project's schema
check for JSON, `ast.parse` for Python, PyYAML's scanner and parser for YAML (no object is made, no
alias followed), `tomllib`, and expat for XML; declarations of entities are refused.

Parsers meet what a model wrote, so they are kept within bounds: texts above `max_chars` and what is
nested above `DEEPEST` are rejected unread, and a parser's RecursionError or MemoryError is a
rejection and not the end of the run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, PositiveInt, model_validator

from synthkd.curate.fields import text_of
from synthkd.errors import Rejected
from synthkd.rows import Row, canonical
from synthkd.schemas import Schema
from synthkd.steps import Kit, StepSettings, step

DEEPEST = 100
"""Brackets inside each other; CPython's parser ends at 200, and no program has a tenth of that."""
LONGEST_CHAIN = 500
"""Signs such as `-` or `not` in a row: each is a level for a parser that recurses."""
_FENCE = re.compile(r"^(?P<fence>`{3,}+|~{3,}+)(?P<info>[^\n]*)$", re.MULTILINE)
_LANGUAGE = re.compile(r"[ \t]*([\w+#.-]*)")
_CHAIN = re.compile(r"(?:[-+~!][ \t\n]*|\bnot[ \t\n]+|\blambda[ \t]*:[ \t]*|\bawait[ \t]+)+")
_NAMES = {
    "json": {"json"},
    "python": {"python", "py", "python3"},
    "yaml": {"yaml", "yml"},
    "toml": {"toml"},
    "xml": {"xml", "html", "svg"},
}
"""What a fence of the format is called."""


def _checkable(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if schema is not None:
        Schema.of("answer", schema)  # a ValueError says what in it cannot be checked
    return schema


class FormatConfig(StepSettings):
    """What a text must be."""

    field: str
    """The field with the text that is looked at."""
    format: Literal["json", "python", "yaml", "toml", "xml"]
    json_schema: Annotated[dict[str, Any] | None, AfterValidator(_checkable)] = None
    """What the JSON must look like, as in the front matter of a prompt."""
    fenced: Literal["auto", "never", "only"] = "auto"
    """auto: what is in the fences of this format (or unnamed ones) if there is any, else the whole
    text; only: a text without such a fence is rejected; never: the whole text as it stands."""
    max_chars: PositiveInt = 200_000
    """A longer text is not parsed, and rejected."""

    @model_validator(mode="after")
    def _schema_is_for_json(self) -> FormatConfig:
        if self.json_schema is not None and self.format != "json":
            raise ValueError(f"json_schema is for format json, not for {self.format}")
        return self


@step("gate.format", needs=lambda config: [config.field])
async def form(row: Row, kit: Kit, config: FormatConfig, /) -> AsyncIterator[Row]:
    """Rejects texts that are not of the format (`bad_format`); they are parsed, never run."""
    text = text_of(row, config.field)
    if len(text) > config.max_chars:
        fault: str | None = f"has {len(text)} chars, max_chars is {config.max_chars}"
    else:
        fault = fault_in(text, config)
    if fault is not None:
        raise Rejected("bad_format", f"{config.field} {fault}")
    yield row


def fault_in(text: str, config: FormatConfig) -> str | None:
    """Why the text is not of the format; None = it is."""
    pieces = [text] if config.fenced == "never" else fenced_in(text, config.format)
    if not pieces:
        if config.fenced == "only":
            return f"has no code fence with {config.format}"
        pieces = [text]
    if not any(piece.strip() for piece in pieces):
        return f"is empty, which is no {config.format}"
    for piece in pieces:
        if config.json_schema is not None:
            read = _schema(canonical(config.json_schema)).read(piece)
            fault = "; ".join(read.faults) or None
        else:
            fault = PARSERS[config.format](piece)
        if fault is not None:
            return f"is no {config.format}: {fault}"
    return None


def fenced_in(text: str, form: str) -> list[str]:
    """What is in the fences of that format; of unnamed fences if none is named so."""
    fences = list(_fences(text))
    named = [code for language, code in fences if language in _NAMES[form]]
    return named or [code for language, code in fences if not language]


def _fences(text: str) -> Iterator[tuple[str, str]]:
    """(language, code) of each fence; one that nothing closes is none.

    Linear in the text: where nothing closes a fence, nothing closes a later one that is as long.
    """
    marks = list(_FENCE.finditer(text))
    never_closed = {"`": len(text) + 1, "~": len(text) + 1}
    nth = 0
    while nth < len(marks):
        opening, fence = marks[nth], marks[nth]["fence"]
        nth += 1
        if len(fence) >= never_closed[fence[0]]:
            continue
        later = range(nth, len(marks))
        closing = next((place for place in later if _closes(marks[place], fence)), None)
        if closing is None:
            never_closed[fence[0]] = len(fence)
            continue
        language = _LANGUAGE.match(opening["info"])
        code = text[opening.end() + 1 : marks[closing].start()]
        yield "" if language is None else language[1].casefold(), code
        nth = closing + 1


def _closes(mark: re.Match[str], fence: str) -> bool:
    return mark["fence"].startswith(fence) and not mark["info"].strip()


def json_fault(text: str) -> str | None:
    """Why the text is no JSON."""
    try:
        orjson.loads(text)
    except ValueError as error:
        return str(error)
    return None


def python_fault(text: str) -> str | None:
    """Why the text is no Python; only ever parsed."""
    if too_deep(text):
        return f"nested deeper than {DEEPEST}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string is no fault, and no news
            ast.parse(text)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except ValueError as error:  # a null byte, a lone surrogate
        return str(error)
    except (RecursionError, MemoryError):
        return "too deeply nested for the parser"
    return None


def yaml_fault(text: str) -> str | None:
    """Why the text is no YAML; one word is YAML too."""
    import yaml

    if too_deep(text):
        return f"nested deeper than {DEEPEST}"
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        return f"{error.problem} (line {line})"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def toml_fault(text: str) -> str | None:
    """Why the text is no TOML."""
    import tomllib

    keys = (line.partition("=")[0] for line in text.splitlines())
    if too_deep(text) or any(key.count(".") > DEEPEST for key in keys):  # a key is a nest too
        return f"nested deeper than {DEEPEST}"
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def xml_fault(text: str) -> str | None:
    """Why the text is no well-formed XML; entity declarations, which can grow without end, are."""
    from xml.parsers.expat import ExpatError, ParserCreate, errors

    def refuse(*declared: object) -> None:
        raise ValueError("it declares entities")

    parser = ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode(), True)
    except ExpatError as error:
        return f"{errors.messages[error.code]} (line {error.lineno})"
    except ValueError as error:
        return str(error)
    return None


PARSERS: Mapping[str, Callable[[str], str | None]] = {
    "json": json_fault,
    "python": python_fault,
    "yaml": yaml_fault,
    "toml": toml_fault,
    "xml": xml_fault,
}


def too_deep(text: str) -> bool:
    """Whether brackets or signs are nested beyond what a parser is given; strings count too."""
    depth = 0
    for sign in re.findall(r"[(\[{)\]}]", text):
        depth = max(depth - 1, 0) if sign in ")]}" else depth + 1
        if depth > DEEPEST:
            return True
    return any(len(run[0].split() or run[0]) > LONGEST_CHAIN or len(run[0]) > 2 * LONGEST_CHAIN
               for run in _CHAIN.finditer(text))  # fmt: skip


@lru_cache(maxsize=64)
def _schema(written: bytes) -> Schema:
    return Schema.of("answer", orjson.loads(written))
