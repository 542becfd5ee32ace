"""source.beside: the k-th value of all shards belongs to the k-th record, or nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.config import SourceConfig
from synthkd.errors import SourceChanged, SourceError
from synthkd.io import beside
from synthkd.io.sources import Source, SourceRow, Unreadable, open_source


def opened(**settings: Any) -> Source:
    return open_source(SourceConfig.model_validate(settings), base=Path("elsewhere"))


def write(name: str, value: Any) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(orjson.dumps(value))


def rows(n: int, name: str = "rows.jsonl") -> None:
    Path(name).write_bytes(b"".join(orjson.dumps({"i": i}) + b"\n" for i in range(n)))


def texts(source: Source) -> list[Any]:
    return [record.row.fields["said"] for record in source.read() if isinstance(record, SourceRow)]


@given(st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=13))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shards_are_one_list_in_the_order_of_their_numbers(sizes: list[int]) -> None:
    for old in Path().glob("llm/*.json"):
        old.unlink()
    values = iter(range(sum(sizes)))
    for number, size in enumerate(sizes):
        write(f"llm/train_CoT_{number}.json", [f"text {next(values)}" for _ in range(size)])
    rows(sum(sizes))
    source = opened(jsonl="rows.jsonl", beside={"said": "llm/train_CoT_*.json"})
    assert texts(source) == texts(source) == [f"text {i}" for i in range(sum(sizes))]


def test_what_is_left_out_has_its_place_all_the_same() -> None:
    Path("rows.jsonl").write_bytes(b'{"i":0,"ok":1}\nnot JSON\n{"i":2,"ok":0}\n{"i":3,"ok":1}\n')
    write("said.json", ["a", "b", "c", "d"])
    source = opened(jsonl="rows.jsonl", beside={"said": "said.json"}, where={"ok": 1})
    assert texts(source) == ["a", "d"]
    assert [type(record) for record in source.read()] == [SourceRow, Unreadable, SourceRow]
    assert texts(opened(jsonl="rows.jsonl", beside={"said": "said.json"}, limit=1)) == ["a"]


def test_it_is_a_column_where_the_source_has_columns() -> None:
    Path("rows.csv").write_text("i\n0\n1\n", encoding="utf-8")
    write("said.json", [{"text": "a"}, None])
    source = opened(csv="rows.csv", beside={"said": "said.json"}, id=["i"])
    assert source.columns == ("i", "said")
    assert texts(source) == [{"text": "a"}, None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a"], r"said\*\.json \(1 file\) has 1 values in all, and the dataset has more records"),
        (["a"] * 5, r"has 5 values in all, and the dataset has 3 records"),
    ],
)
def test_another_number_of_values_ends_the_reading(values: list[str], message: str) -> None:
    rows(3)
    write("said0.json", values)
    with pytest.raises(SourceError, match=message) as caught:
        texts(opened(jsonl="rows.jsonl", beside={"said": "said*.json"}))
    assert "unshuffled, and all of its shards" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1,", "is no JSON array: Expecting value: line 1 column 4"),
        (b'{"a": 1}', "is no JSON array but dict"),
        (b"\xff", "is no JSON array in UTF-8: byte 1 is none"),
        (b"[" * 100_000, "is no JSON array"),
    ],
)
def test_a_shard_that_is_none(content: bytes, message: str) -> None:
    rows(1)
    Path("said.json").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        texts(opened(jsonl="rows.jsonl", beside={"said": "said.json"}))


def test_a_shard_is_read_as_forgivingly_as_a_line_of_jsonl() -> None:
    """Python itself writes NaN and lone surrogates, and some editors a mark before all text."""
    rows(3)
    Path("said.json").write_bytes(b'\xef\xbb\xbf[NaN, "\\ud800 a", "b"]')
    source = opened(jsonl="rows.jsonl", beside={"said": "said.json"})
    assert texts(source) == [None, "\ufffd a", "b"]
    Path("said.json").write_bytes(b'["a", 12345678901234567890123, "b"]')
    with pytest.raises(SourceError, match="does not fit into 64 bits"):
        texts(opened(jsonl="rows.jsonl", beside={"said": "said.json"}))


def test_a_shard_that_changes_under_the_run_is_told() -> None:
    rows(2)
    write("said.json", ["a", "b"])
    source = opened(jsonl="rows.jsonl", beside={"said": "said.json"})
    assert texts(source) == ["a", "b"]
    write("said.json", ["longer", "b"])
    with pytest.raises(SourceChanged, match=r"said\.json: was changed while the run read it"):
        texts(source)
    Path("said.json").unlink()
    with pytest.raises(SourceChanged):
        texts(source)


def test_faults_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    rows(1)
    write("said.json", ["a"])
    with pytest.raises(SourceError, match=r"no such file.*did you mean said"):
        opened(jsonl="rows.jsonl", beside={"said": "sayd.json"})
    with pytest.raises(SourceError, match="has a field 'i' already"):
        list(opened(jsonl="rows.jsonl", beside={"i": "said.json"}).read())
    monkeypatch.setattr(beside, "MAX_SHARD_BYTES", 3)
    with pytest.raises(SourceError, match="a shard is read whole: divide it"):
        texts(opened(jsonl="rows.jsonl", beside={"said": "said.json"}))
