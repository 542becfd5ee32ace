"""Prompt templates: found by name, checked when loaded, rendered to chat messages.

A file `label/intent.md.j2`:

    ---
    inputs: [text, labels]
    output: label                       # text (default), label, or {json_schema: ...}
    roles: [system, user]               # optional: which blocks the body has
    ---
    {# system #}
    You sort messages into: {{ labels | join(", ") }}.
    {# user #}
    {{ text }}

With `output: {json_schema: ...}` the schema goes out with every question, and answers are checked
against it (`synthkd.schemas`).

A prompt of one `{# raw #}` block is text that the model simply continues (the API `completions`),
to the letter: only the last line break of the file is dropped.

Blocks may repeat: pairs of user and assistant blocks are examples for the teacher. Outer blank
lines of a message are dropped. Inputs that are undeclared or unused fail at load. What a template
may do, and that what it renders is never executed, is the matter of `synthkd.templates`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from synthkd.errors import PromptError
from synthkd.hints import near
from synthkd.plain_yaml import PlainLoader
from synthkd.rows import Fields
from synthkd.schemas import Schema
from synthkd.templates import RESERVED, Compiled, compiled

SUFFIX = ".md.j2"

Role = Literal["system", "user", "assistant", "raw"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "raw")

_NAME = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)
_MARKER = re.compile(r"[ \t]*\{#-?[ \t]*(\w+)[ \t]*-?#\}[ \t]*")


class JsonOutput(BaseModel):
    """An answer in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    json_schema: dict[str, Any]


class FrontMatter(BaseModel):
    """What stands between the `---` lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: list[str]
    output: Literal["text", "label"] | JsonOutput = "text"
    roles: list[Role] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One message of a prompt."""

    role: Role
    content: str | Compiled
    """Text that is the same for every row, or the template that makes it."""
    line: int = 0
    """Where it begins in the file, from 0: so many empty lines keep a template's line numbers."""

    def raw(self, inputs: Fields) -> str:
        """The text to the letter."""
        if isinstance(self.content, str):
            return self.content
        return self.content.render(inputs)[self.line :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A checked prompt file."""

    name: str
    inputs: tuple[str, ...]
    output: Literal["text", "label", "json"]
    schema: Schema | None
    """What an answer in JSON must look like; None = the output is no JSON."""
    sha256: str
    """64 hex digits over the file's bytes."""
    path: Path
    blocks: tuple[Block, ...] = field(repr=False, compare=False)

    @property
    def api(self) -> Literal["chat", "completions"]:
        """Whether it is messages, or raw text to be continued."""
        return "completions" if self.blocks[0].role == "raw" else "chat"

    def question(self, inputs: Fields) -> dict[str, Any]:
        """What a request's body says of it: `messages`, or `prompt` where it is raw text.

        Raises:
            Unrenderable: an input is missing, or has not the shape that the template counts on.
        """
        if self.api == "completions":
            return {"prompt": self.blocks[0].raw(inputs)}
        return {"messages": self.render(inputs)}

    def render(self, inputs: Fields) -> list[dict[str, Any]]:
        """The chat messages: `role` and `content`.

        Raises:
            Unrenderable: an input is missing, or has not the shape that the template counts on.
        """
        return [
            {
                "role": block.role,
                "content": block.content
                if isinstance(block.content, str)
                else _without_outer_blank_lines(block.content.render(inputs)),
            }
            for block in self.blocks
        ]


def load_prompt(name: str, *, folders: Sequence[Path]) -> Prompt:
    """The prompt of that name, from the first folder that has it.

    Args:
        name: such as `label/intent` for label/intent.md.j2.
        folders: where to look, in this order.

    Raises:
        PromptError: there is none, or the file has a fault.
    """
    try:
        path = find_named(name, folders, kind="prompt", suffix=SUFFIX, example="label/intent")
    except ValueError as error:
        raise PromptError(str(error)) from None
    return _read(name, path)


def find_named(
    name: str,
    folders: Sequence[Path],
    *,
    kind: str,
    suffix: str,
    example: str,
    within: str = "the prompts' folder",
) -> Path:
    """The file of a name, from the first folder that has it; also of rubrics, cards and tasks.

    Args:
        name: without the suffix, from the folder down.
        folders: where to look, in this order.
        kind: what such a file is, for messages.
        suffix: of its name.
        example: of a name.
        within: the folders, for messages.

    Raises:
        ValueError: it is no name, or no folder has such a file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.80} is no name of a {kind}: write it as in {example}, without a suffix, from"
            f" {within} down"
        )
    paths = [folder / f"{name}{suffix}" for folder in folders]
    for path in paths:
        if path.is_file():
            return path
    places = ", ".join(dict.fromkeys(map(str, paths)))
    hint = near(name, _names_in(folders, suffix))
    raise ValueError(f"there is no {kind} {name!r}; looked for {places}{hint}")


def shipped_folder(kind: Literal["prompts", "pipelines", "data"]) -> Path:
    """Where the files that come with synthkd lie: in the wheel, or in a checkout of the project."""
    package = Path(__file__).parent
    inside = package / "shipped" / kind
    return inside if inside.is_dir() else package.parent / kind


def _names_in(folders: Sequence[Path], suffix: str) -> Iterator[str]:
    for folder in folders:
        for pattern in (f"*{suffix}", f"*/*{suffix}"):  # not deeper: it may be a home folder
            for path in folder.glob(pattern):
                yield path.relative_to(folder).as_posix().removesuffix(suffix)


def _read(name: str, path: Path) -> Prompt:
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise PromptError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: byte {error.start} is not UTF-8: save it as UTF-8") from error
    end = _end_of_front_matter(path, lines)
    front = _front_matter(path, "\n".join(lines[1:end]))
    blocks = [
        _block(path, front, role, line, source)
        for role, line, source in _sources(path, lines, start=end + 1)
    ]
    _check_roles(path, front, [block.role for block in blocks])
    used = set[str]().union(*(b.content.names for b in blocks if isinstance(b.content, Compiled)))
    if unused := [repr(name) for name in front.inputs if name not in used]:
        raise PromptError(
            f"{path} line 2: inputs declares {', '.join(unused)}, which no block uses: use it or "
            "remove it"
        )
    return Prompt(
        name=name,
        inputs=tuple(front.inputs),
        output="json" if isinstance(front.output, JsonOutput) else front.output,
        schema=_schema(path, name, front, [block.role for block in blocks]),
        sha256=hashlib.sha256(raw).hexdigest(),
        path=path,
        blocks=tuple(blocks),
    )


def _end_of_front_matter(path: Path, lines: Sequence[str]) -> int:
    if lines and lines[0].rstrip() == "---":
        for index, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return index
    raise PromptError(
        f"{path} line 1: a prompt begins with front matter between two lines of ---, such as "
        "'inputs: [text]'"
    )


def _front_matter(path: Path, text: str) -> FrontMatter:
    try:
        front = FrontMatter.model_validate(yaml.load(text, Loader=PlainLoader))  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise PromptError(f"{path}: the front matter is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: {fault['msg']}, "
            f"got {fault['input']!r:.60}"
            for fault in error.errors()
        )
        raise PromptError(
            f"{path}: the front matter has faults: {faults}; it may say inputs: [names], "
            "output: text, label or {json_schema: ...}, roles: [system, user, assistant]"
        ) from error
    except ValueError as error:  # such as the date 2024-13-45
        raise PromptError(f"{path}: the front matter cannot be read: {error}") from error
    except RecursionError as error:
        raise PromptError(f"{path}: the front matter is nested too deeply") from error
    for name in front.inputs:
        if not name.isidentifier() or name.startswith("_") or name in RESERVED:
            raise PromptError(
                f"{path} line 2: {name!r} cannot be the name of an input: use letters, digits and "
                f"_, beginning with a letter, and none of {', '.join(sorted(RESERVED))}"
            )
    return front


def _sources(path: Path, lines: Sequence[str], *, start: int) -> Iterator[tuple[Role, int, str]]:
    """Role, first line and template of each block, behind as many empty lines as stand above it."""
    markers = [
        (index, match[1])
        for index, line in enumerate(lines)
        if index >= start and (match := _MARKER.fullmatch(line))
    ]
    first = markers[0][0] if markers else len(lines)
    if "".join(lines[start:first]).strip():
        raise PromptError(
            f"{path} line {start + 1}: text before the first block: put a line {{# user #}} or "
            "{# system #} before it"
        )
    ends = [*(index for index, _ in markers[1:]), len(lines)]
    for (index, word), end in zip(markers, ends, strict=False):  # no marker: one end too many
        role = next((role for role in ROLES if role == word), None)
        if role is None:
            raise PromptError(
                f"{path} line {index + 1}: {{# {word} #}} is no role: use {', '.join(ROLES)}; a "
                "comment needs more words than one"
            )
        yield role, index + 1, "\n" * (index + 1) + "\n".join(lines[index + 1 : end])


def _block(path: Path, front: FrontMatter, role: Role, line: int, source: str) -> Block:
    template = compiled(source, path=path)
    for name in sorted(template.names.difference(front.inputs), key=template.lines.__getitem__):
        raise PromptError(
            f"{path} line {template.lines[name]}: {name!r} is not declared in inputs "
            f"{front.inputs}: declare it, or mend the name{near(name, front.inputs)}"
        )
    if not template.is_constant:
        return Block(role=role, content=template, line=line)
    whole = template.render({})
    text = whole[line:] if role == "raw" else _without_outer_blank_lines(whole)
    if not text.strip():
        raise PromptError(f"{path} line {line}: the {role} block is empty: write it or remove it")
    return Block(role=role, content=text, line=line)


def _check_roles(path: Path, front: FrontMatter, roles: Sequence[Role]) -> None:
    if not roles:
        raise PromptError(f"{path}: the prompt has no block: begin it with a line {{# user #}}")
    if "raw" in roles and len(roles) > 1:
        raise PromptError(
            f"{path}: a raw block is the whole prompt, and no message: remove the other blocks, or "
            f"make it one of {', '.join(ROLES[:-1])}"
        )
    if "system" in roles[1:]:
        raise PromptError(
            f"{path}: there may be one system block, before all others; the blocks are "
            f"{', '.join(roles)}"
        )
    if front.roles is not None and set(front.roles) != set(roles):
        raise PromptError(
            f"{path}: the front matter says roles {front.roles}, but the blocks are "
            f"{', '.join(roles)}: make them agree"
        )


def _schema(path: Path, name: str, front: FrontMatter, roles: Sequence[Role]) -> Schema | None:
    if not isinstance(front.output, JsonOutput):
        return None
    if "raw" in roles:
        raise PromptError(
            f"{path}: a raw prompt is only continued, and no API takes a schema with it: use user "
            "and system blocks, or another output"
        )
    try:
        return Schema.of(name, front.output.json_schema)
    except ValueError as error:
        raise PromptError(f"{path}: output.json_schema: {error}") from error


def _without_outer_blank_lines(text: str) -> str:
    """Leading blank lines and trailing white space go; the first line's indentation stays."""
    text = text.rstrip()
    if not text[:1].isspace():
        return text
    begin = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, begin) + 1 :]
