from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.rows import MAX_DEPTH, Json, Row, canonical, clean, digest, merged_roots, source_row

# Any text, lone surrogates included; any number, NaN and infinities included.
text = st.text(st.characters())
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | text
foreign = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
json_values: st.SearchStrategy[Any] = foreign.map(lambda value: clean(value, {}))


@given(foreign)
def test_what_is_clean_is_json_for_every_reader_and_stays_as_it_is(value: object) -> None:
    repairs: dict[str, int] = {}
    once = clean(value, repairs)
    again: dict[str, int] = {}
    assert clean(once, again) == once
    assert again == {}
    assert orjson.loads(orjson.dumps(once)) == once
    if not repairs:
        assert once == value


@given(text)
def test_only_lone_surrogates_are_replaced(value: str) -> None:
    cleaned = clean(value, {})
    assert isinstance(cleaned, str)
    # Python never joins two surrogates by itself; UTF-16 does, and so do other readers of JSON.
    joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert cleaned == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in joined)


def test_repairs_are_counted_by_kind() -> None:
    repairs: dict[str, int] = {}
    value = {"a": ["\ud800", math.nan], "\udfff": math.inf, "ok": 1.5}
    assert clean(value, repairs) == {"a": ["\ufffd", None], "\ufffd": None, "ok": 1.5}
    assert repairs == {"lone_surrogates": 2, "not_a_number": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, "the integer 9223372036854775808 does not fit into 64 bits"),
        ([-(2**63) - 1], "does not fit into 64 bits"),
        ({1: "x"}, "a field's name must be a string, got 1"),
        (object(), "object is not a JSON type"),
        ({"a": b"x"}, "bytes is not a JSON type: b'x'"),
        ({1, 2}, "set is not a JSON type"),
    ],
)
def test_what_json_cannot_say_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clean(value, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_nan_that_our_own_code_made_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        clean(value)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_nesting_ends_before_the_writer_gives_up() -> None:
    assert orjson.dumps([[{"fields": clean(nested(MAX_DEPTH))}]])
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(ValueError, match="nested more than 200 deep"):
            clean(nested(levels))


@given(st.lists(json_values, max_size=3), st.lists(json_values, max_size=3))
def test_digests_agree_exactly_when_the_parts_do(one: list[Json], other: list[Json]) -> None:
    assert (digest(*one) == digest(*other)) == (canonical(one) == canonical(other))
    assert len(digest(*one)) == 16
    assert int(digest(*one), 16) >= 0


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_the_order_of_keys_changes_no_digest(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_ids_never_change() -> None:
    """Every ledger and dataset in the world depends on them."""
    row = source_row("tickets.jsonl", ["42"], ordinal=7, fields={})
    assert row.id == "d688c25a56e34415"
    assert row.child("generate", 0).id == "d5f0d983e67c43b7"


def test_parts_cannot_run_into_each_other() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert digest("1") != digest(1)
    assert digest("a", ["b"]) != digest("a", "b")


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8, unique=True),
    st.lists(st.sampled_from(["generate", "label"]), min_size=1, max_size=3),
)
def test_children_have_ids_and_places_of_their_own(
    places: list[tuple[int, int]], steps: list[str]
) -> None:
    rows = []
    for ordinal, index in places:
        row = source_row("s", ["#", ordinal], ordinal=ordinal, fields={"a": 1})
        for step in steps:
            row = row.child(step, index)
        rows.append(row)
        assert row.roots == (source_row("s", ["#", ordinal], ordinal=0, fields={}).id,)
        assert row.fields == {"a": 1}
    assert len({row.id for row in rows}) == len(places)
    assert len({row.order for row in rows}) == len(places)


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1))
def test_children_stand_right_after_their_parent(orders: list[tuple[int, ...]]) -> None:
    rows = [Row(id="x", order=order, roots=("x",), fields={}) for order in orders]
    for row in rows:
        first, second = row.child("s", 0), row.child("s", 1)
        assert row.order < first.order < second.order
        for other in rows:
            if other.order[: len(row.order)] != row.order:
                assert (other.order < row.order) == (other.order < second.order)


def test_a_row_never_changes() -> None:
    row = source_row("s", [1], ordinal=0, fields={"a": 1})
    richer = row.with_fields(b=2).with_made_by("k1", "k2").with_made_by("k3")
    assert (row.fields, row.made_by) == ({"a": 1}, ())
    assert (richer.fields, richer.made_by) == ({"a": 1, "b": 2}, ("k1", "k2", "k3"))
    assert (richer.id, richer.order, richer.roots) == (row.id, row.order, row.roots)
    with pytest.raises(AttributeError):
        row.id = "other"  # type: ignore[misc]


def test_merged_roots_keep_each_once_in_order() -> None:
    def row(*roots: str) -> Row:
        fields: Mapping[str, Json] = {}
        return Row(id="x", order=(0,), roots=roots, fields=fields)

    assert merged_roots([row("b", "a"), row("a", "c"), row("b")]) == ("b", "a", "c")


def test_two_names_that_become_one_are_refused_not_merged() -> None:
    with pytest.raises(ValueError, match="two names become one"):
        clean({chr(0xD800): 1, chr(0xD801): 2}, {})


def test_a_field_may_have_any_name() -> None:
    row = source_row("x", ["1"], ordinal=0, fields={})
    assert row.with_fields(**{"self": 1}).fields == {"self": 1}
