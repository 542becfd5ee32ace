"""`synthkd steps`: the steps that exist, and one step's settings with their units."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkd.cli.app import Debug, app, reported

if TYPE_CHECKING:
    from pydantic import BaseModel

    from synthkd.steps import AnyStep


@app.command()
@reported
def steps(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One step.")] = None,
    debug: Debug = False,
) -> None:
    """List the steps that exist, or one step's settings."""
    from synthkd.steps import find_step, step_modules

    if name is not None:
        typer.echo(_described(find_step(name)))
        return
    known = sorted(step_modules())
    width = max(map(len, known))
    for each in known:
        typer.echo(f"{each:<{width}}  {_first_line(find_step(each).about)}")


def _described(step: AnyStep) -> str:
    """A step's documentation: what it does, its fields, its settings."""
    from synthkd.steps import Step

    kind = "row step" if isinstance(step, Step) else "table step: sees all rows at once"
    lines = [f"{step.name} ({kind})", "", step.about, ""]
    lines += [f"needs  {_fields(step.needs)}", f"gives  {_fields(step.gives)}", "", "with:"]
    return "\n".join([*lines, *_settings(step.config)])


def _settings(config: type[BaseModel], indent: str = "  ") -> Iterator[str]:
    """A line for each setting and what it is; those of a block in it below."""
    from pydantic import BaseModel

    for name, field in config.model_fields.items():
        default = "required" if field.is_required() else f"default {_yaml(field.get_default())}"
        kind = " ".join([_type_text(field.annotation), *map(_bound, field.metadata)]).strip()
        yield f"{indent}{name}: {kind}, {default}"
        yield from (f"{indent}    {line}" for line in (field.description or "").splitlines())
        block = field.annotation
        if isinstance(block, type) and issubclass(block, BaseModel):
            yield from _settings(block, indent + "      ")


def _fields(names: Any) -> str:
    return "depends on the settings" if callable(names) else ", ".join(names) or "nothing"


def _type_text(annotation: Any) -> str:
    """A type as YAML's reader knows it: `number | "auto"` rather than a Python expression."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return " ".join([_type_text(args[0]), *map(_bound, args[1:])]).strip()
    if origin in {typing.Union, UnionType}:
        return " | ".join(map(_type_text, args))
    if origin is typing.Literal:
        return " | ".join(map(repr, args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type_text, args))}]"
    if annotation in {NoneType, ...}:
        return "null" if annotation is NoneType else "..."
    return getattr(annotation, "__name__", str(annotation))


def _yaml(value: object) -> str:
    """A default as one would write it into a pipeline file; of a block what is not its default."""
    return json.dumps(value, ensure_ascii=False, default=_said)


def _said(value: object) -> object:
    from pydantic import BaseModel

    if not isinstance(value, BaseModel):
        return str(value)
    kind = {"kind": value.kind} if hasattr(value, "kind") else {}
    return {**kind, **value.model_dump(exclude_unset=True)}


def _bound(constraint: object) -> str:
    """A limit on a value, such as `>= 1`; nothing for what a person need not know."""
    for name, sign in {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}.items():
        if (limit := getattr(constraint, name, None)) is not None:
            return f"{sign} {limit}"
    return ""


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
