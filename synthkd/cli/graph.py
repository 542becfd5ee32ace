"""`synthkd graph`: the triples of all rows as one graph, in files for others, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from synthkd.cli.app import AsJson, Debug, app, reported
from synthkd.errors import UserError

if TYPE_CHECKING:
    from synthkd.graphs.whole import WholeGraph
    from synthkd.rows import Json


class Format(StrEnum):
    """What can be written."""

    parquet = "parquet"
    graphml = "graphml"
    nt = "nt"


@app.command()
@reported
def graph(
    path: Annotated[
        Path, typer.Argument(metavar="ROWS", help="The folder of a run, or a file of records.")
    ],
    field: Annotated[str, typer.Option(metavar="FIELD", help="With the triples.")] = "graph",
    text: Annotated[
        str, typer.Option(metavar="FIELD", help="With the document, for the density.")
    ] = "text",
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="May be repeated; parquet alone by default."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="IRI", help="What names begin with in nt.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="By default the folder graph in ROWS.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the triples of all rows as one graph: nodes and edges, each once.

    graphml and nt need the extra `graph`. Figures: entities, triples, triples per 100 words, parts
    that hang together, degrees, relations.
    """
    from synthkd.graphs.export import BASE, FORMATS, write_ntriples

    whole = _read(path, field, text)
    if not whole.edges:
        raise UserError(f"{path}: no row has a triple in {field!r}; name the field with --field")
    folder = out or (path / "graph" if path.is_dir() else path.with_suffix(".graph"))
    written: list[Path] = []
    for form in dict.fromkeys(formats or [Format.parquet]):
        if form is Format.nt:
            written += write_ntriples(whole, folder, base or BASE)
        else:
            written += FORMATS[form.value](whole, folder)
    figures = whole.figures()
    if as_json:
        told = {"files": [str(file) for file in written], "figures": figures}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value in figures.items():
        typer.echo(f"{name}: {_shown(value)}")
    for file in written:
        typer.echo(str(file))


def _read(path: Path, field: str, text: str) -> WholeGraph:
    from synthkd.errors import RowError
    from synthkd.evaluate.people import records_of
    from synthkd.graphs.passages import words_in
    from synthkd.graphs.triple import triples_in
    from synthkd.graphs.whole import WholeGraph

    whole = WholeGraph()
    for number, record in enumerate(records_of(path), start=1):
        value = _value(record.get(field))
        if value is None:
            continue
        try:
            found = triples_in(value, field)
        except RowError as error:
            raise UserError(f"{path} record {number}: {error}") from error
        triples = [(triple, _proposition(said)) for triple, said in found if triple.fault is None]
        document = record.get(text)
        words = words_in(document) if isinstance(document, str) else 0
        types = _types(_value(record.get("entities")))
        whole.add(str(record.get("id", number)), triples, types=types, words=words)
    return whole


def _value(value: Json) -> Json:
    """What a file of columns holds as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            read: Json = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        return read
    return value


def _proposition(said: Json) -> str | None:
    proposition = said.get("proposition") if isinstance(said, Mapping) else None
    return proposition if isinstance(proposition, str) else None


def _types(entities: Json) -> dict[str, str | None]:
    if isinstance(entities, str) or not isinstance(entities, Sequence):
        return {}
    named = (one for one in entities if isinstance(one, Mapping) and one.get("name"))
    return {str(one["name"]): str(one["type"]) for one in named if one.get("type")}


def _shown(value: Json) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "unknown" if value is None else str(value)
