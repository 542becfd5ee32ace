"""tag.normalise: one spelling, rare ones gone, near ones merged under the most frequent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthkd.curate.tags import NormaliseSettings, normalise
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit


def normalised(
    rows: list[Json], folder: Path, **settings: Any
) -> tuple[list[tuple[Any, Any]], dict[str, Any]]:
    kit = TableKit(Desk(step="tag.normalise", work=folder, vectors=folder / "v"))
    made = [source_row("s", [n], ordinal=n, fields={"intents": row}) for n, row in enumerate(rows)]
    config = NormaliseSettings.model_validate({"at_least": 2, **settings})
    with RowSpool.of(folder / "r", made) as spool:
        out = [row.fields for row in normalise(Table(spool), kit, config)]
    kit.close()
    return [(fields["tags"], fields["complexity"]) for fields in out], kit.figures


def test_intents_that_say_the_same_are_one(tmp_path: Path) -> None:
    rows: list[Json] = [
        [{"tag": "Recipe Request", "explanation": "x"}, {"tag": "humour", "explanation": ""}],
        [{"tag": "recipe_request"}, "recipe request.", {"tag": "only here"}],
        ["request recipe", {"name": "no tag"}, 7],
        [{"tag": "Request recipe"}, {"tag": "recipe request"}, {"tag": "humour"}],
        None,
        [],
    ]
    told, figures = normalised(rows, tmp_path)
    assert told == [
        (["recipe request", "humour"], 2),
        (["recipe request"], 1),
        (["recipe request"], 1),
        (["recipe request", "humour"], 2),
        ([], 0),
        ([], 0),
    ]
    assert figures == {
        "tags as written": 8,
        "in lower case": 4,
        "in 2 rows or more": 3,
        "after merging": 2,
        "rows without a tag": 2,
        "most frequent": {"recipe request": 4, "humour": 2},
        "merged": {"recipe request": ["request recipe"]},
    }
    apart, figures = normalised(rows, tmp_path / "apart", merge=False, at_least=1)
    assert apart[3] == (["request recipe", "recipe request", "humour"], 3)
    assert figures["after merging"] == 4
    assert normalised([None], tmp_path / "none")[0] == [([], 0)]
