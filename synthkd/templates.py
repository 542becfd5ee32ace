"""Jinja for people who get their templates from strangers: it sees JSON and nothing else.

    >>> compiled("Hello {{ name | upper }}!", path=Path("x.md.j2")).render({"name": "Ada"})
    'Hello ADA!'

What it covers: a template reaches the values it is given. There is no loader; dots and brackets
look into JSON only, never at Python attributes; filters and calls are allow-lists; nothing is
random; text in the values is text, never a template. What is not text (lists, objects, numbers,
null) is written as JSON. What it does not cover: a template may still loop for long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from synthkd.errors import PromptError, Unrenderable
from synthkd.fence import fenced
from synthkd.hints import near
from synthkd.rows import Fields

# fmt: off
FILTERS = frozenset({
    "abs", "batch", "capitalize", "count", "d", "default", "dictsort", "fenced", "first", "float",
    "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max",
    "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice",
    "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper", "wordcount",
    "wordwrap",
})
# fmt: on
"""Not among them: `attr` and `format` reach too far, `random` differs from run to run, `safe` and
its kind belong to HTML. `tojson` is our own, because Jinja's escapes for HTML, and `fenced` is of
`synthkd.fence`."""

METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset({"items", "keys", "values", "get"}),
    str: frozenset({"join", "split", "splitlines", "strip", "startswith", "endswith"}),
    LoopContext: frozenset({"cycle", "changed"}),
}
METHOD_NAMES = frozenset[str]().union(*METHODS.values())
# fmt: off
LOOP_FACTS = frozenset({
    "index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0",
    "previtem", "nextitem",
})
# fmt: on
FUNCTIONS = frozenset({"range", "namespace"})
RESERVED = FUNCTIONS | {"loop", "self", "super", "caller", "varargs", "kwargs"}
"""Names that no value may have."""

TAGS: Mapping[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from ... import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
}
"""Tags that are refused."""

# What a filter or an operator raises when a value is not of the kind that it counts on: null in
# `dictsort` is an AttributeError, a negative `truncate` an AssertionError, a list inside itself by
# recursion a RecursionError.
_RENDERING_FAULTS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value in a template."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A template that was checked and compiled."""

    path: Path
    names: frozenset[str]
    """The names that must be given to `render`."""
    lines: Mapping[str, int]
    """... and the line at which each is first used."""
    is_constant: bool
    """Whether it is plain text, the same for all values."""
    template: Template = field(repr=False)
    parts: tuple[str | Slot, ...] | None = field(repr=False)
    """The whole template where it is text and `{{ name }}` alone, as most are; else None."""

    def render(self, values: Fields) -> str:
        """The text.

        Raises:
            Unrenderable: a value is missing or has not the shape that the template counts on.
        """
        if self.parts is not None:
            try:  # without Jinja, which takes five times as long
                return "".join(
                    [p if isinstance(p, str) else values[p.name] for p in self.parts]  # type: ignore[misc]  # join checks that they are text
                )
            except (KeyError, TypeError):
                pass  # a value is missing or no text: Jinja says so, or writes it as JSON
        try:
            # What Template.render does, without one more copy of the values.
            context = self.template.new_context(values)  # type: ignore[arg-type]  # only read
            return "".join(self.template.root_render_func(context))
        except _RENDERING_FAULTS as error:
            raise Unrenderable(
                f"{self.path} line {_line_of(error, self.template)}: cannot be rendered: {error}; "
                "compare the row's fields with what the template does with them"
            ) from error


def compiled(source: str, *, path: Path) -> Compiled:
    """Check a template and compile it.

    Args:
        source: the template; its line numbers are those of the file.
        path: for messages.

    Raises:
        PromptError: it is no template, or reaches for what it may not; with file and line.
    """
    with _faults_at(path):
        tree = _SANDBOX.parse(source, filename=str(path))
        called = {id(call.node) for call in tree.find_all(nodes.Call)}
        for node in tree.find_all(nodes.Node):
            if fault := _fault(node, called):
                raise PromptError(f"{path} line {node.lineno}: {fault}")
        names = frozenset(meta.find_undeclared_variables(tree)) - FUNCTIONS
        code = _SANDBOX.compile(source, filename=str(path))
    plain = nodes.Output | nodes.TemplateData
    return Compiled(
        path=path,
        names=names,
        lines={n.name: n.lineno for n in reversed(list(tree.find_all(nodes.Name)))},
        is_constant=all(isinstance(node, plain) for node in tree.find_all(nodes.Node)),
        template=Template.from_code(_SANDBOX, code, dict(_SANDBOX.globals)),
        parts=_parts(tree),
    )


def _parts(tree: nodes.Template) -> tuple[str | Slot, ...] | None:
    parts: list[str | Slot] = []
    for output in tree.body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            if isinstance(node, nodes.TemplateData):
                parts.append(node.data)
            elif isinstance(node, nodes.Name):
                parts.append(Slot(node.name))
            else:
                return None
    return tuple(parts)


@contextmanager
def _faults_at(path: Path) -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as error:
        what = (error.message or "not a template").rstrip(".")
        raise PromptError(
            f"{path} line {error.lineno}: {what}; literal braces go between "
            "{% raw %} and {% endraw %}"
        ) from error
    except RecursionError as error:
        raise PromptError(f"{path}: expressions or tags are nested too deeply") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.name`: an allowed method, a fact about the loop, else the same as obj['name']."""
        for kind, names in METHODS.items():
            if attribute in names and isinstance(obj, kind):
                return getattr(obj, attribute)
        if isinstance(obj, LoopContext) and attribute in LOOP_FACTS:
            return getattr(obj, attribute)
        if isinstance(obj, Namespace) and not attribute.startswith("_"):
            return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: what JSON has there, else undefined; never an attribute."""
        if isinstance(obj, Undefined):
            return obj[argument]  # raises, and says which name is undefined
        if isinstance(obj, dict | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                # Undefined, as in Jinja: `is defined` and `default` may ask; use is an error.
                return self.undefined(obj=obj, name=argument)
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`*` and `%` for numbers only: of text they fill the memory."""
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(f"{operator} is for numbers only")
        return super().call_binop(context, operator, left, right)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Undefined):
        return str(value)  # raises, and says which name is undefined
    return _tojson(value)


def _tojson(value: Any, indent: int | None = None) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()


def _fenced(value: Any, name: str) -> str:
    return fenced(_as_text(value), name)


def _sandbox() -> _Sandbox:
    sandbox = _Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_as_text,
    )
    known = {**sandbox.filters, "tojson": _tojson, "fenced": _fenced}
    sandbox.filters = {name: known[name] for name in FILTERS}
    sandbox.globals = {name: sandbox.globals[name] for name in FUNCTIONS}
    return sandbox


_SANDBOX = _sandbox()


def _fault(node: nodes.Node, called: set[int]) -> str | None:
    """What is wrong with a node of the syntax tree: no prompt needs it, and escapes begin with it.

    The sandbox refuses the same at rendering; here the author learns of it before anything runs.
    """
    if type(node) in TAGS:
        return f"{{% {TAGS[type(node)]} %}} is not allowed: a prompt is one file, so write it out"
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        return _fault_of_access(node, is_called=id(node) in called)
    if isinstance(node, nodes.Call):
        return _fault_of_call(node.node)
    if isinstance(node, nodes.Filter):
        return _fault_of_filter(node)
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        half = any("\ud800" <= char <= "\udfff" for char in node.value)
        return f"{node.value!r:.40} holds half of a character (a lone surrogate)" if half else None
    if isinstance(node, nodes.Pow):
        return "** is not allowed: it can fill the memory; compute the value in a step"
    if isinstance(node, nodes.Name) and (node.name.startswith("_") or node.name == "self"):
        return f"the name {node.name!r} is not allowed: use the declared inputs"
    return None


def _fault_of_access(node: nodes.Getattr | nodes.Getitem, *, is_called: bool) -> str | None:
    name = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    if _is_private(name):
        return f"{name!r} is not allowed: what begins with an underscore is out of reach"
    if isinstance(node, nodes.Getattr) and name in METHOD_NAMES and not is_called:
        return f".{name} is a method: call it, .{name}(), or write ['{name}'] for a field"
    return None


def _fault_of_call(callee: nodes.Expr) -> str | None:
    if isinstance(callee, nodes.Name) and callee.name in FUNCTIONS:
        return None
    if isinstance(callee, nodes.Getattr) and callee.attr in METHOD_NAMES:
        return None
    what = getattr(callee, "name", None) or getattr(callee, "attr", None) or "this"
    return (
        f"{what}(...) may not be called: there are the functions {', '.join(sorted(FUNCTIONS))} "
        f"and the methods {', '.join(sorted(METHOD_NAMES))}; for more, see the filters"
    )


def _fault_of_filter(node: nodes.Filter) -> str | None:
    if node.name not in FILTERS:
        hint = near(node.name, FILTERS) or ";"
        return f"there is no filter {node.name!r}{hint} there are {', '.join(sorted(FILTERS))}"
    named = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    first = node.args[:1] if node.name in {"selectattr", "rejectattr", "groupby", "sum"} else []
    for node_of_name in [*named, *first]:
        name = getattr(node_of_name, "value", None)
        if isinstance(name, str) and any(_is_private(part) for part in name.split(".")):
            return f"{name!r} is not allowed: what begins with an underscore is out of reach"
    return None


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_")


def _line_of(error: BaseException, template: Template) -> int:
    """The line of the file at which rendering stopped."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == template.filename:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line
