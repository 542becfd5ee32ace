"""`synthkd graph`: the triples of all rows as one graph, in files for others, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from synthkd.cli.app import AsJson, Debug, app, reported
from synthkd.errors import UserError

if TYPE_CHECKING:
    from synthkd.graphs.triple import Triple
    from synthkd.graphs.whole import WholeGraph
    from synthkd.rows import Json


class Format(StrEnum):
    """What can be written."""

    parquet = "parquet"
    graphml = "graphml"
    nt = "nt"
    svg = "svg"


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
    ask: Annotated[
        str | None, typer.Option(metavar="QUESTION", help="Which propositions bear on it.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="So many, with --ask.")] = 5,
    gold: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Compare with the triples in it.")
    ] = None,
    embed: Annotated[
        str | None,
        typer.Option(metavar="MODEL2VEC", help="Vectors for --ask and --gold; else TF-IDF."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the triples of all rows as one graph: nodes and edges, each once.

    graphml, nt and svg (a picture) need the extra `graph`. Figures: entities, triples, triples per
    100 words, parts that hang together, degrees, relations. With --ask or --gold nothing is
    written: it tells the propositions that bear on a question, or precision, recall and coverage.
    """
    from synthkd.graphs.export import BASE, FORMATS, write_ntriples

    if gold is not None:
        _compare(path, field, gold, embed, as_json=as_json)
        return
    whole = _read(path, field, text)
    if not whole.edges:
        raise UserError(f"{path}: no row has a triple in {field!r}; name the field with --field")
    if ask is not None and not ask.strip():
        raise UserError("--ask: the question is empty")
    if ask is not None:
        _answer(whole, ask, top, embed, as_json=as_json)
        return
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


def _compare(path: Path, field: str, gold: str, embed: str | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from synthkd.curate.embed import unit_vectors
    from synthkd.evaluate.graphs import compared
    from synthkd.graphs.coverage import told

    wanted, given = _triples(path, gold), _triples(path, field)
    if not any(wanted):
        raise UserError(f"{path}: no row has a triple in {gold!r}, which is to be gold")
    texts = [told(triple) for rows in (wanted, given) for row in rows for triple in row]
    found = compared(wanted, given, vectors=unit_vectors(embed, texts))
    if as_json:
        figures = {name: one.model_dump() for name, one in found.figures.items()}
        relations = {name: asdict(one) for name, one in found.relations.items()}
        both = {"documents": len(wanted), "figures": figures, "relations": relations}
        typer.echo(orjson.dumps(both, option=orjson.OPT_INDENT_2).decode())
        return
    for name, one in found.figures.items():
        typer.echo(f"{name}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]")
    for name, of in found.relations.items():
        typer.echo(f"  {name}: {of.hits} of {of.wanted} found, {of.named} given")


def _triples(path: Path, field: str) -> list[list[Triple]]:
    """Of each record; one without the field has none."""
    from synthkd.errors import RowError
    from synthkd.evaluate.people import records_of
    from synthkd.graphs.triple import triples_in

    found: list[list[Triple]] = []
    for number, record in enumerate(records_of(path), start=1):
        value = _value(record.get(field))
        try:
            stated = [] if value is None else triples_in(value, field)
        except RowError as error:
            raise UserError(f"{path} record {number}: {error}") from error
        found.append([triple for triple, _ in stated if triple.fault is None])
    return found


def _answer(
    whole: WholeGraph, question: str, top: int, embed: str | None, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from synthkd.curate.embed import unit_vectors
    from synthkd.graphs.retrieval import Propositions

    asked = Propositions(whole)
    if not asked:
        raise UserError("no triple has a proposition: the step `synthkg` makes them")
    vectors = unit_vectors(embed, asked.texts)
    cosines = vectors(asked.texts) @ vectors([question])[0]
    hits = asked.best(question, cosines, keep=top)
    if as_json:
        told = [asdict(hit) for hit in hits]
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    for hit in hits:
        hops = "by words alone" if hit.hops is None else f"{hit.hops} hop(s)"
        typer.echo(f"{hit.proposition}  [{hit.document}, {hops}, cosine {hit.cosine:.2f}]")


def _read(path: Path, field: str, text: str) -> WholeGraph:
    from synthkd.errors import RowError
    from synthkd.evaluate.people import records_of
    from synthkd.graphs.whole import WholeGraph

    whole = WholeGraph()
    for number, record in enumerate(records_of(path), start=1):
        fields = {**record, **{name: _value(record.get(name)) for name in (field, "entities")}}
        try:
            whole.take(str(record.get("id", number)), fields, triples=field, text=text)
        except RowError as error:
            raise UserError(f"{path} record {number}: {error}") from error
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


def _shown(value: Json) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "unknown" if value is None else str(value)
