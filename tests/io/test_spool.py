from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.errors import DiskFailed
from synthkd.io.columns import arrow_type, fitted, joined, kind_of
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Json, Row


def row(*order: int, id: str = "", made_by: tuple[str, ...] = (), **fields: Json) -> Row:
    return Row(
        id=id or "-".join(map(str, order)),
        order=order,
        roots=("r",),
        fields=fields,
        made_by=made_by,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[RowSpool]:
    with RowSpool(tmp_path / "spool.sqlite") as spool:
        yield spool


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
orders = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=4).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    places=st.lists(orders, unique=True, max_size=12),
    fields=st.dictionaries(st.text(), json_values, max_size=3),
    data=st.data(),
)
def test_whatever_comes_in_comes_out_whole_and_in_order(
    tmp_path: Path, places: list[tuple[int, ...]], fields: Fields, data: st.DataObject
) -> None:
    rows = [
        Row(id=str(i), order=place, roots=("a", "b"), fields=fields, made_by=("k",))
        for i, place in enumerate(places)
    ]
    cut = data.draw(st.integers(0, len(rows)))
    with RowSpool(tmp_path / "law.sqlite") as spool:
        spool.add(rows[:cut])
        spool.add(rows[cut:])
        spool.seal()
        assert list(spool) == sorted(rows, key=lambda r: r.order)
        assert len(spool) == len(rows)


def test_equal_orders_come_out_by_id(spool: RowSpool) -> None:
    spool.add([row(1, id="b"), row(1, id="a"), row(0, id="z")])
    spool.seal()
    assert [r.id for r in spool] == ["z", "a", "b"]


def test_it_iterates_twice_and_from_another_thread_at_once(spool: RowSpool) -> None:
    rows = [row(i) for i in range(5_000)]
    shuffled = rows[:]
    random.Random(0).shuffle(shuffled)
    spool.add(shuffled)
    spool.seal()
    seen: list[Row] = []
    thread = threading.Thread(target=lambda: seen.extend(spool))
    mine = iter(spool)
    first = next(mine)
    thread.start()
    rest = list(mine)
    thread.join()
    assert seen == [first, *rest] == rows
    assert list(spool) == rows


def test_groups_cover_all_rows_in_order(spool: RowSpool) -> None:
    spool.add(row(i) for i in range(7))
    spool.seal()
    assert [[r.order[0] for r in group] for group in spool.groups(3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_opening_replaces_what_a_killed_run_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.sqlite"
    RowSpool.of(path, [row(1)])._scratch._db.close()  # as a kill leaves it: the file stays
    with RowSpool.of(path, [row(2)]) as spool:
        assert [r.order for r in spool] == [(2,)]
    path.write_bytes(b"half a page of something")
    with RowSpool.of(path, []) as spool:
        assert list(spool) == []
    assert not path.exists()


def test_wrong_use_is_a_bug_not_a_user_error(spool: RowSpool) -> None:
    with pytest.raises(RuntimeError, match="seal"):
        iter(spool)
    spool.seal()
    spool.seal()
    with pytest.raises(RuntimeError, match="sealed"):
        spool.add([row(1)])


def test_a_row_that_is_no_json_is_a_bug(spool: RowSpool) -> None:
    with pytest.raises(TypeError):
        spool.add([Row(id="x", order=(0,), roots=(), fields={"x": object()})])  # type: ignore[dict-item]


def test_an_unusable_folder_is_told_with_place_and_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am no folder", encoding="utf-8")
    with pytest.raises(DiskFailed, match=r"file/spool\.sqlite: .*--out"):
        RowSpool(tmp_path / "file" / "spool.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskFailed, match=r"cannot keep rows in .*folder: .*--out"):
        RowSpool(tmp_path / "folder")


@pytest.mark.parametrize("moment", ["add", "seal"])
def test_a_full_disk_is_told_with_place_and_way_out(spool: RowSpool, moment: str) -> None:
    rows = [row(i, text="x" * 900) for i in range(200)]
    if moment == "seal":
        spool.add(rows)
    spool._scratch._db.execute("PRAGMA cache_size=10")
    pages = 20 if moment == "add" else spool._scratch._db.execute("PRAGMA page_count").fetchone()[0]
    spool._scratch._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(
        DiskFailed, match=r"spool\.sqlite: database or disk is full; free some space"
    ):
        spool.add(rows) if moment == "add" else spool.seal()


def test_a_fault_that_is_not_the_disks_passes_as_it_is(spool: RowSpool) -> None:
    spool._scratch._db.execute("DROP TABLE rows")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        spool.add([row(1)])


def test_a_table_gives_rows_and_typed_columns(tmp_path: Path) -> None:
    spool = RowSpool.of(
        tmp_path / "t", [row(2, n=2.5, mixed="a"), row(0, n=1, mixed=1), row(1, tags=["x"])]
    )
    table = Table(spool)
    assert len(table) == 3
    assert [r.order for r in table] == [(0,), (1,), (2,)]
    assert table.column("n").type == pa.float64()
    assert table.column("n").to_pylist() == [1.0, None, 2.5]
    assert table.column("mixed").to_pylist() == ["1", None, '"a"']
    assert table.column("tags").type == pa.list_(pa.string())
    assert table.column("absent").to_pylist() == [None, None, None]
    spool.close()


def test_a_column_of_no_rows_is_empty(spool: RowSpool) -> None:
    spool.seal()
    assert Table(spool).column("x").to_pylist() == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, None], pa.string()),
        ([True, None], pa.bool_()),
        ([True, 1], pa.string()),
        ([1, 2**62 + 1], pa.int64()),
        ([1, 2**62, 0.5], pa.float64()),
        ([1, 2**62 + 1, 0.5], pa.string()),
        ([[1], [0.5], []], pa.list_(pa.float64())),
        ([[], []], pa.list_(pa.string())),
        ([[1], ["a"]], pa.string()),
        ([[[1]], [[2, None]]], pa.list_(pa.list_(pa.int64()))),
        ([{"a": 1}], pa.string()),
        ([[{"a": 1}]], pa.string()),
        ([[1], 1], pa.string()),
    ],
)
def test_types_over_all_values(values: list[Json], expected: pa.DataType) -> None:
    for order in (values, values[::-1]):
        kind = None
        for value in order:
            kind = joined(kind, kind_of(value))
        assert arrow_type(kind) == expected


@settings(deadline=None)
@given(values=st.lists(json_values, max_size=6))
def test_every_value_fits_the_joined_type_and_nothing_is_lost(values: list[Json]) -> None:
    kind = None
    for value in values:
        kind = joined(kind, kind_of(value))
    column = pa.array([fitted(value, kind) for value in values], type=arrow_type(kind))
    if kind == "json":
        import orjson

        assert [None if v is None else orjson.loads(v) for v in column.to_pylist()] == values
    else:
        assert column.to_pylist() == values


small = st.lists(st.integers(0, 2), max_size=3).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(ours=st.lists(small, unique=True, max_size=6), before=st.lists(small, max_size=8))
def test_earlier_rows_are_those_that_no_row_of_the_table_was_turned_into(
    tmp_path: Path, ours: list[tuple[int, ...]], before: list[tuple[int, ...]]
) -> None:
    earlier = [row(*order, id=str(n)) for n, order in enumerate(before)]
    wanted = [one for one in earlier if not any(one.order[: len(o)] == o for o in ours)]
    with (
        RowSpool.of(tmp_path / "ours", [row(*order) for order in ours]) as spool,
        RowSpool.of(tmp_path / "before", earlier) as kept,
    ):
        table = Table(spool, kept)
        found = [one.id for one in table.earlier]
        assert len(table) == len(ours)
    assert sorted(found) == sorted(one.id for one in wanted)
    assert [before[int(name)] for name in found] == sorted(one.order for one in wanted)
