from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.config import HoldoutConfig, SourceConfig
from synthkd.errors import SourceChanged, SourceError
from synthkd.io import formats
from synthkd.io.sources import Source, SourceRow, Unreadable, open_source, side_of
from synthkd.rows import Json

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def opened(**settings: Any) -> Source:
    return open_source(SourceConfig.model_validate(settings), base=Path("elsewhere"))


def fields(source: Source) -> list[Any]:
    return [r.row.fields if isinstance(r, SourceRow) else r.message for r in source.read()]


def lines(*values: Any) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


# JSONL


def test_jsonl_with_a_mark_crlf_blank_lines_and_no_last_newline(write: Write) -> None:
    write("a.jsonl", b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n{"a":2}\n\n{"a":"\xc3\xa4"}')
    source = opened(jsonl="a.jsonl")
    assert (source.name, source.columns) == ("a.jsonl", None)
    assert fields(source) == [{"a": 1}, {"a": 2}, {"a": "ä"}]
    assert fields(source) == [{"a": 1}, {"a": 2}, {"a": "ä"}], "read starts anew"


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_jsonl_may_be_compressed(write: Write, suffix: str) -> None:
    content = lines({"a": 1}) * 20_000
    write(f"a.jsonl{suffix}", COMPRESS[suffix](content))
    assert fields(opened(jsonl=f"a.jsonl{suffix}")) == [{"a": 1}] * 20_000


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_a_cut_or_damaged_archive_says_so(write: Write, suffix: str, damage: bytes) -> None:
    whole = COMPRESS[suffix](lines(*({"a": i * 7919 % 1000} for i in range(5_000))))
    write(f"a.jsonl{suffix}", whole[: len(whole) // 2] + damage)
    with pytest.raises(SourceError, match=rf"a\.jsonl\{suffix}: cannot be read"):
        fields(opened(jsonl=f"a.jsonl{suffix}"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            b'{"te',
            "not JSON: Unterminated string starting at column 2; the line starts with '{\"te'",
        ),
        (b"hello", "not JSON: Expecting value at column 1; the line starts with 'hello'"),
        (b'{"a": 1} {"b": 2}', "not JSON: Extra data at column 10"),
        (b'{"a": "\xff\xfe"}', "not UTF-8 at byte 8 of the line"),
        (b"[1, 2]", "not a JSON object but a list .*a line of its own"),
        (b"3", "not a JSON object but a number"),
        (b"null", "not a JSON object but null"),
        (b'"x"', "not a JSON object but a string"),
        (b'{"a": 9223372036854775808}', "the integer 9223372036854775808 does not fit"),
        (b'{"a": -123456789012345678901234567890}', "does not fit into 64 bits"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "line 2: "),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "nested more than 200 deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b'{"a": ' + b'{"b":' * 3_000, "line 2: "),
    ],
)
def test_a_line_that_is_no_row_is_one_failed_row(write: Write, line: bytes, fault: str) -> None:
    write("t.jsonl", b'{"a": 0}\n' + line + b'\n{"a": 2}\n')
    first, bad, last = opened(jsonl="t.jsonl").read()
    assert isinstance(first, SourceRow)
    assert isinstance(last, SourceRow)
    assert last.row.order == (2,)
    assert isinstance(bad, Unreadable)
    assert bad.ordinal == 1
    assert bad.message.startswith("t.jsonl line 2: ")
    assert bad.message.startswith("t.jsonl line 2: ")
    assert len(bad.message) < 300 or "does not fit" in bad.message or "digits" in bad.message
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(bad.message)


def test_what_can_be_mended_is_mended_and_counted_once_a_read(write: Write) -> None:
    write("a.jsonl", b'{"a": NaN, "b": [-Infinity, 1e999]}\n{"a": "x\\ud800y"}\n{"a": 1}\n')
    source = opened(jsonl="a.jsonl")
    for _ in range(2):
        assert fields(source) == [{"a": None, "b": [None, None]}, {"a": "x\ufffdy"}, {"a": 1}]
        assert source.repairs == {"not_a_number": 3, "lone_surrogates": 1}


def test_the_widest_integers_pass(write: Write) -> None:
    write("a.jsonl", lines({"a": 2**63 - 1, "b": -(2**63), "c": "12345678901234567890"}))
    assert fields(opened(jsonl="a.jsonl")) == [
        {"a": 2**63 - 1, "b": -(2**63), "c": "12345678901234567890"}
    ]


def test_a_line_without_end_is_refused_not_swallowed(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_LINE_BYTES", 1000)
    write("a.jsonl", lines({"a": "x" * 2000}))
    with pytest.raises(SourceError, match="has a line of more than"):
        fields(opened(jsonl="a.jsonl"))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_utf16_is_told(write: Write, kind: str) -> None:
    write("a", '{"a": 1}'.encode("utf-16"))
    with pytest.raises(SourceError, match="is UTF-16: save it as UTF-8"):
        opened(**{kind: "a"})


def test_an_empty_jsonl_has_no_rows(write: Write) -> None:
    write("a.jsonl", b"")
    assert fields(opened(jsonl="a.jsonl")) == []


# CSV


def test_csv_is_text_with_quotes_and_line_breaks(write: Write) -> None:
    write("a.csv", b'\xef\xbb\xbfid,text\r\n1,"a, ""b""\nc"\r\n\r\n2,\r\n')
    source = opened(csv="a.csv")
    assert source.columns == ("id", "text")
    assert fields(source) == [{"id": "1", "text": 'a, "b"\nc'}, {"id": "2", "text": ""}]


def test_csv_rows_that_are_none_name_their_line(write: Write) -> None:
    long = b"x" * 200_000  # longer than the csv module's default allows
    write("a.csv", b'a,b\n1\n"x\ny",2\n1,2,3\n\xff,1\n"p"q,1\n' + long + b",5\n")
    assert fields(opened(csv="a.csv")) == [
        "a.csv line 2: 1 cells where the header has 2; it begins '1'",
        {"a": "x\ny", "b": "2"},
        "a.csv line 5: 3 cells where the header has 2; it begins '1'",
        "a.csv line 6: not UTF-8 in column 'a'",
        "a.csv line 7: not CSV: ',' expected after '\"'",
        {"a": long.decode(), "b": "5"},
    ]


def test_a_quote_that_is_never_closed_is_told(write: Write) -> None:
    write("a.csv", b'a\n1\n"never closed\n2\n3\n')
    source = opened(csv="a.csv")
    with pytest.raises(SourceError, match=r"a\.csv line 3: a quote is opened that never closes"):
        fields(source)


def test_tabs_where_the_name_says_so_and_compressed(write: Write) -> None:
    write("a.tsv.gz", gzip.compress(b"a\tb\n1,5\t2\n"))
    assert fields(opened(csv="a.tsv.gz")) == [{"a": "1,5", "b": "2"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no header in line 1"), (b"a,b,a\n", "two columns are called 'a'"), (b'"a\n', "header")],
)
def test_a_csv_without_a_usable_header_is_refused(
    write: Write, content: bytes, message: str
) -> None:
    write("a.csv", content)
    with pytest.raises(SourceError, match=message):
        opened(csv="a.csv")


def test_where_compares_csv_cells_as_they_are_written(write: Write) -> None:
    write("a.csv", b"n,ok,t\n1,true,\n1,false,\n2,true,\n1,true,x\n")
    source = opened(csv="a.csv", where={"n": 1, "ok": True, "t": None})
    assert fields(source) == [{"n": "1", "ok": "true", "t": ""}]
    assert source.skipped == 3


# Parquet and Hugging Face datasets


def test_parquet_values_become_json(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    values: dict[str, Any] = {
        "text": "a",
        "number": 3,
        "share": 0.5,
        "yes": True,
        "nothing": None,
        "list": ["a", None],
        "struct": {"x": 1, "when": moment},
        "when": moment,
        "day": datetime.date(2024, 2, 3),
        "clock": datetime.time(1, 2, 3),
        "span": datetime.timedelta(hours=30),
        "money": decimal.Decimal("1.50"),
        "raw": b"\x00\xff",
    }
    parquet(tmp_path / "a.parquet", pa.Table.from_pylist([values]))
    source = opened(parquet="a.parquet")
    assert source.columns == tuple(values)
    assert fields(source) == [
        values
        | {
            "struct": {"x": 1, "when": "2024-02-03T04:05:06+00:00"},
            "when": "2024-02-03T04:05:06+00:00",
            "day": "2024-02-03",
            "clock": "01:02:03",
            "span": "1 day, 6:00:00",
            "money": "1.50",
            "raw": "AP8=",
        }
    ]


def test_parquet_other_types_and_repairs(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ns": pa.array([1_700_000_000_000_000_001], pa.timestamp("ns")),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "word": pa.array(["a"]).dictionary_encode(),
            "nan": pa.array([float("nan")]),
            "f4": pa.array([0.5], pa.float32()),
        }
    )
    parquet(tmp_path / "a.parquet", table)
    source = opened(parquet="a.parquet")
    assert fields(source) == [
        {
            "ns": "2023-11-14T22:13:20.000000001",
            "map": [["k", 1]],
            "word": "a",
            "nan": None,
            "f4": 0.5,
        }
    ]
    assert source.repairs == {"not_a_number": 1}


def test_parquet_rows_that_are_none_name_their_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "n": pa.array([1, 2**63, 3, 4], pa.uint64()),
            "when": pa.array([0, 0, 2**60, 0], pa.timestamp("us")),
        }
    )
    parquet(tmp_path / "a.parquet", table)
    first, second, third, fourth = opened(parquet="a.parquet").read()
    assert isinstance(second, Unreadable)
    assert second.message == (
        "a.parquet row 2: the integer 9223372036854775808 does not fit into 64 bits"
    )
    assert isinstance(third, Unreadable)
    assert third.message.startswith("a.parquet row 3: holds a value that Python cannot: ")
    assert isinstance(first, SourceRow)
    assert isinstance(fourth, SourceRow)
    assert fourth.row.order == (3,)


def test_parquet_streams_many_batches(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(3 * formats.BATCH + 1))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    found = [value["n"] for value in fields(opened(parquet="a.parquet"))]
    assert found == list(range(3 * formats.BATCH + 1))


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet at all PAR1"])
def test_a_file_that_is_no_parquet_says_so(write: Write, content: bytes) -> None:
    write("a.parquet", content)
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read: .*check that the file"):
        opened(parquet="a.parquet")


def test_a_dataset_saved_to_disk(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = [{"text": f"t{i}", "label": i % 3} for i in range(600)]
    data = datasets.Dataset.from_list(rows)
    data.save_to_disk(tmp_path / "plain")
    datasets.DatasetDict({"train": data, "test": data.select(range(2))}).save_to_disk(
        tmp_path / "split"
    )
    source = opened(hf="plain")
    assert (source.name, source.columns) == ("plain", ("text", "label"))
    assert fields(source) == rows
    assert fields(source) == rows
    assert fields(opened(hf="split", split="test")) == rows[:2]
    with pytest.raises(SourceError, match=r"has no split 'tset'; source\.split may be train, test"):
        opened(hf="split", split="tset")


def test_a_hub_that_cannot_be_reached_says_what_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'org/name' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        SourceError, match=r"source\.hf 'org/name' cannot be loaded: Couldn't reach"
    ):
        opened(hf="org/name")


# Finding files


def test_a_path_is_looked_for_here_then_beside_the_pipeline(write: Write, tmp_path: Path) -> None:
    write("pipelines/a.jsonl", b'{"from": "base"}\n')
    config = SourceConfig(jsonl="a.jsonl")
    assert fields(open_source(config, base=tmp_path / "pipelines")) == [{"from": "base"}]
    write("a.jsonl", b'{"from": "here"}\n')
    assert fields(open_source(config, base=tmp_path / "pipelines")) == [{"from": "here"}]


# Ids, filters, sides


def test_ids_come_from_fields_or_from_the_place(write: Write) -> None:
    write("a.jsonl", lines({"k": "x"}, {"k": "y"}))
    by_field = [r.row for r in opened(jsonl="a.jsonl", id=["k"]).read() if isinstance(r, SourceRow)]
    by_place = [r.row for r in opened(jsonl="a.jsonl").read() if isinstance(r, SourceRow)]
    renamed = [
        r.row
        for r in opened(jsonl="a.jsonl", id=["k"], name="b").read()
        if isinstance(r, SourceRow)
    ]
    assert len({row.id for row in by_field + by_place + renamed}) == 6
    assert [row.roots for row in by_field] == [(row.id,) for row in by_field]


def test_a_row_without_its_id_or_side_is_unreadable(write: Write) -> None:
    write("a.jsonl", lines({"k": "x", "q": 1}, {"q": 1}, {"k": "z"}, {"k": None, "q": 1}))
    source = opened(jsonl="a.jsonl", id=["k"], holdout={"test": 0.5, "by": ["q"]})
    assert [r.message for r in source.read() if isinstance(r, Unreadable)] == [
        "a.jsonl line 2: has no 'k', which source.id names",
        "a.jsonl line 3: has no 'q', which source.holdout.by names",
        "a.jsonl line 4: has no 'k', which source.id names",
    ]


def test_ids_and_order_stay_when_filters_change(write: Write) -> None:
    write("a.jsonl", lines(*({"n": i % 3} for i in range(9))) + b"broken\n")
    everything = {
        r.row.order: r.row for r in opened(jsonl="a.jsonl").read() if isinstance(r, SourceRow)
    }
    source = opened(jsonl="a.jsonl", where={"n": 1}, limit=2)
    some = [r.row for r in source.read() if isinstance(r, SourceRow)]
    assert some == [everything[(1,)], everything[(4,)]]
    assert source.skipped == 3, "the limit was reached at the fifth record"


def test_an_unreadable_record_counts_towards_the_limit(write: Write) -> None:
    write("a.jsonl", b"broken\n" + lines({"n": 1}, {"n": 2}))
    assert len(fields(opened(jsonl="a.jsonl", limit=2))) == 2


def test_where_knows_a_boolean_from_a_number(write: Write) -> None:
    values: list[Json] = [1, True, 1.0, "1", None]
    write("a.jsonl", lines(*({"n": value} for value in values), {"m": 1}))
    assert fields(opened(jsonl="a.jsonl", where={"n": 1})) == [{"n": 1}, {"n": 1.0}]
    assert fields(opened(jsonl="a.jsonl", where={"n": True})) == [{"n": True}]
    assert fields(opened(jsonl="a.jsonl", where={"n": None})) == [{"n": None}, {"m": 1}]


def test_where_on_a_field_that_no_row_has_is_a_mistake(write: Write) -> None:
    write("a.jsonl", lines({"split": "train"}))
    with pytest.raises(SourceError, match=r"no row has the field 'splt' that source\.where names"):
        fields(opened(jsonl="a.jsonl", where={"splt": "train"}))
    assert fields(opened(jsonl="a.jsonl", where={"split": "other"})) == []


@pytest.mark.parametrize(
    "settings",
    [{"id": ["txt"]}, {"where": {"txt": "a"}}, {"holdout": {"test": 0.5, "by": ["txt"]}}],
)
def test_a_missing_column_is_told_at_once_with_near_names(
    write: Write, tmp_path: Path, settings: dict[str, Any]
) -> None:
    write("a.csv", b"text,label\n")
    parquet(tmp_path / "a.parquet", pa.table({"text": ["a"], "label": ["b"]}))
    for kind in ("csv", "parquet"):
        with pytest.raises(
            SourceError, match=rf"a\.{kind}: has no column 'txt'.*did you mean text"
        ):
            opened(**{kind: f"a.{kind}"}, **settings)


@given(st.lists(st.text() | st.integers(-5, 5), min_size=1, max_size=3), st.floats(0, 0.45))
def test_the_side_depends_on_the_values_alone(values: list[Json], dev: float) -> None:
    config = HoldoutConfig(dev=dev, test=0.5, by=["x"])
    assert side_of(values, config) == side_of(list(values), config)
    assert side_of(values, None) == "train"
    # dev first: growing it never moves a row from dev to elsewhere
    if side_of(values, config) == "dev":
        assert side_of(values, HoldoutConfig(dev=0.45, test=0.5, by=["x"])) == "dev"


def test_sides_have_their_shares_and_equal_values_one_side(write: Write) -> None:
    rows = [{"q": f"question {i // 2}", "n": i} for i in range(4_000)]
    write("a.jsonl", lines(*rows))
    source = opened(jsonl="a.jsonl", holdout={"dev": 0.1, "test": 0.2, "by": ["q"]})
    sides: dict[Json, set[str]] = {}
    counts = {"train": 0, "dev": 0, "test": 0}
    for record in source.read():
        assert isinstance(record, SourceRow)
        sides.setdefault(record.row.fields["q"], set()).add(record.split)
        counts[record.split] += 1
    assert all(len(found) == 1 for found in sides.values())
    # 2,000 questions: 4 standard deviations are 54 and 72 of them, each twice
    assert abs(counts["dev"] - 400) < 108
    assert abs(counts["test"] - 800) < 144


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from([b'{"k": 1}', b'{"k": 2}', b"", b"junk", b"{", b"[]", b'{"k": "\xff"}'])
    ),
    st.booleans(),
)
def test_every_record_is_counted_once_and_ids_never_collide(
    tmp_path: Path, content: list[bytes], last_newline: bool
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(content) + b"\n" * last_newline)
    found = list(opened(jsonl="a.jsonl").read())
    assert len(found) == sum(bool(line) for line in content)
    ids = [r.row.id if isinstance(r, SourceRow) else r.id for r in found]
    assert len(set(ids)) == len(ids)
    ordinals = [r.row.order[0] if isinstance(r, SourceRow) else r.ordinal for r in found]
    assert ordinals == list(range(len(found)))


@pytest.mark.parametrize("when", ["between", "while"])
def test_a_file_that_changes_after_the_first_look_stops_the_run(write: Write, when: str) -> None:
    path = write("a.jsonl", b'{"a": 1}\n' * 3)
    source = open_source(SourceConfig(jsonl=str(path)), base=path.parent)
    assert len(list(source.read())) == 3
    assert len(list(source.read())) == 3
    again = source.read()
    if when == "while":
        next(again)
    with path.open("ab") as file:
        file.write(b'{"a": 2}\n')
    with pytest.raises(SourceChanged, match=r"a\.jsonl: was changed while the run read it"):
        list(again)


def test_a_file_that_is_taken_away_stops_the_run(write: Write) -> None:
    path = write("a.jsonl", b'{"a": 1}\n')
    source = open_source(SourceConfig(jsonl=str(path)), base=path.parent)
    list(source.read())
    path.unlink()
    with pytest.raises(SourceChanged, match="was there when the run began"):
        list(source.read())


def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe is a pipe or a device"):
        open_source(SourceConfig(jsonl="pipe"), base=tmp_path)
