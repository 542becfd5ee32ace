from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.dedup import ExactConfig, exact
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, source_row
from synthkd.table_kit import TableKit
from synthkd.text import normalised


def rows_of(*fields: Fields) -> list[Row]:
    return [source_row("rows", [i], ordinal=i, fields=f) for i, f in enumerate(fields)]


def run(rows: list[Row], **settings: object) -> tuple[list[Row], list[tuple[Row, str, str]]]:
    """What is kept, and what is rejected with reason and detail."""
    kit = TableKit(Desk(step="dedup.exact"))
    config = ExactConfig.model_validate(settings)
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        kept = list(exact(Table(spool), kit, config))
    gone = [
        (row, why.reason, why.detail) for row, why in kit.take_gone() if isinstance(why, Rejected)
    ]
    return kept, gone


def test_the_first_by_order_is_kept_and_named() -> None:
    rows = rows_of({"q": "Where is my card?"}, {"q": "Other"}, {"q": "  where IS\tmy card? "})
    kept, gone = run(rows, field="q")
    assert kept == rows[:2]
    assert gone == [(rows[2], "exact_duplicate", f"of row {rows[0].id}")]


def test_several_fields_must_all_agree() -> None:
    rows = rows_of({"q": "a", "n": 1}, {"q": "a", "n": 2}, {"q": "A", "n": 1})
    kept, _ = run(rows, fields=["q", "n"])
    assert [row.order for row in kept] == [(0,), (1,)]


def test_joined_fields_do_not_run_into_each_other() -> None:
    kept, _ = run(rows_of({"a": "x y", "b": "z"}, {"a": "x", "b": "y z"}), fields=["a", "b"])
    assert len(kept) == 2


@pytest.mark.parametrize(("ignore", "n_kept"), [(False, 2), (True, 1)])
def test_punctuation_counts_unless_told(ignore: bool, n_kept: int) -> None:
    kept, _ = run(
        rows_of({"q": "Hello, world!"}, {"q": "hello world"}), field="q", ignore_punctuation=ignore
    )
    assert len(kept) == n_kept


def test_a_row_without_the_field_is_rejected_and_is_no_keeper() -> None:
    kept, gone = run(rows_of({}, {"q": None}, {"q": None}), field="q")
    assert [row.order for row in kept] == [(1,)]
    assert [reason for _, reason, _ in gone] == ["missing_field", "exact_duplicate"]
    assert kept[0].id in gone[1][2]


def test_an_empty_table() -> None:
    assert run(rows_of(), field="q")[0] == []


@pytest.mark.parametrize("settings", [{}, {"field": "q", "fields": ["q"]}, {"fields": []}])
def test_exactly_one_way_to_name_the_fields(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="exactly one of field, fields"):
        ExactConfig.model_validate(settings)


words = st.lists(st.sampled_from(["a", "A", "ﬁ", "fi", "ß", "SS", " ", "1", "¹"]), max_size=4)


@given(st.lists(words.map("".join), max_size=20))
def test_one_of_each_is_kept_and_every_row_is_accounted_for(texts: list[str]) -> None:
    rows = rows_of(*({"q": text} for text in texts))
    kept, gone = run(rows, field="q")
    assert len(kept) + len(gone) == len(rows)
    said = [normalised(str(row.fields["q"])) for row in kept]
    assert said == list(dict.fromkeys(normalised(text) for text in texts))


@given(st.text())
def test_normalising_again_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert normalised(unicodedata.normalize("NFD", text)) == once
