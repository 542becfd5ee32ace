from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import ExportConfig
from synthkd.io import exports
from synthkd.io.exports import export_dataset, missing_text, write_records
from synthkd.io.rows_file import open_rows, read_rows
from synthkd.io.spool import RowSpool
from synthkd.rows import MAX_DEPTH, Json, Row

Export = Callable[..., list[dict[str, Any]]]


def row(place: int, **fields: Json) -> Row:
    return Row(id=f"r{place}", order=(place,), roots=("a", "b"), fields=fields, made_by=("k",))


def write_rows(rows: Iterable[Row], path: Path) -> None:
    with open_rows(path) as add:
        for each in rows:
            add(each)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Rows and settings in; what both files say out, after checking that they agree."""

    def export(*rows: Row, **config: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "dataset"
        with RowSpool.of(tmp_path / "spool", rows) as spool:
            about = export_dataset(spool, ExportConfig.model_validate(config), folder)
        table = pq.read_table(folder / "train.parquet")
        found: list[dict[str, Any]] = table.to_pylist()
        text = (folder / "train.jsonl").read_text(encoding="utf-8")
        assert [orjson.loads(line) for line in text.split("\n")[:-1]] == found
        assert about["rows"] == len(rows)
        assert list(about["columns"]) == table.column_names
        assert sorted(p.name for p in folder.iterdir()) == ["train.jsonl", "train.parquet"]
        return found

    return export


def test_rows_go_out_in_order_with_every_field(export: Export) -> None:
    assert export(row(1, a="x", b=1), row(0, a="y", c=[1, 2])) == [
        {"id": "r0", "a": "y", "c": [1, 2], "b": None},
        {"id": "r1", "a": "x", "c": None, "b": 1},
    ]


def test_the_schema_holds_what_only_the_last_row_says(export: Export, tmp_path: Path) -> None:
    rows = [row(i, n=i, mixed=i, late=None) for i in range(2_500)]
    rows.append(row(2_500, n=0.5, mixed={"a": 1}, late="x"))
    found = export(*rows)
    assert found[1] == {"id": "r1", "n": 1.0, "mixed": "1", "late": None}
    assert found[-1] == {"id": "r2500", "n": 0.5, "mixed": '{"a":1}', "late": "x"}
    file = pq.ParquetFile(tmp_path / "dataset" / "train.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(2)] == [2_000, 501]


def test_a_field_called_id_makes_room_for_the_rows_own(export: Export) -> None:
    assert export(row(0, id="mine")) == [{"id": "r0", "source_id": "mine"}]
    assert export(row(0, id="mine", source_id="s")) == [
        {"id": "r0", "source_id_": "mine", "source_id": "s"}
    ]


TEXTS: dict[str, Json] = {"q": "Why?", "a": "So.", "s": "Be brief.", "bad": "No.", "n": 3}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"format": "messages", "prompt": "q", "completion": "a"},
            {
                "messages": [
                    {"role": "user", "content": "Why?"},
                    {"role": "assistant", "content": "So."},
                ]
            },
        ),
        (
            {"format": "messages", "prompt": "q", "completion": "a", "system": "s"},
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Why?"},
                    {"role": "assistant", "content": "So."},
                ]
            },
        ),
        (
            {"format": "sharegpt", "prompt": "q", "completion": "a", "system": "s", "keep": ["n"]},
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "Why?"},
                    {"from": "gpt", "value": "So."},
                ],
                "n": 3,
            },
        ),
        (
            {"format": "prompt-completion", "prompt": "q", "completion": "n"},
            {"prompt": "Why?", "completion": "3"},
        ),
        (
            {"format": "alpaca", "prompt": "q", "completion": "a", "system": "s"},
            {"instruction": "Why?", "input": "", "output": "So.", "system": "Be brief."},
        ),
        (
            {"format": "alpaca", "prompt": "q", "completion": "a", "input": "bad"},
            {"instruction": "Why?", "input": "No.", "output": "So."},
        ),
        (
            {"format": "alpaca", "prompt": "q", "completion": "a", "input": "none"},
            {"instruction": "Why?", "input": "", "output": "So."},
        ),
        (
            {"format": "preference", "prompt": "q", "chosen": "a", "rejected": "bad"},
            {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        ),
    ],
)
def test_formats(export: Export, config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert export(row(0, **TEXTS), **config) == [{"id": "r0", **expected}]


def test_a_row_without_a_system_message_has_none(export: Export) -> None:
    config = {"prompt": "q", "completion": "a", "system": "s"}
    first, second = export(
        row(0, q="1", a="2"), row(1, q="1", a="2", s="S"), format="messages", **config
    )
    assert [turn["role"] for turn in first["messages"]] == ["user", "assistant"]
    assert [turn["role"] for turn in second["messages"]] == ["system", "user", "assistant"]


@pytest.mark.parametrize("bad", [{"q": "x"}, {"q": "x", "a": None}])
def test_a_row_without_its_text_stops_the_export_and_leaves_no_file(
    tmp_path: Path, bad: dict[str, Json]
) -> None:
    config = ExportConfig(format="messages", prompt="q", completion="a")
    with (
        RowSpool.of(tmp_path / "spool", [row(0, q="x", a="y"), row(1, **bad)]) as spool,
        pytest.raises(ValueError, match=r"row r1 cannot be exported: 'a'"),
    ):
        export_dataset(spool, config, tmp_path / "dataset")
    assert not list((tmp_path / "dataset").iterdir())


TURNS = {"prompt": "q", "completion": "a"}


@pytest.mark.parametrize(
    ("settings", "fields", "says"),
    [
        ({"format": "rows"}, {}, None),
        ({"format": "messages", **TURNS}, {"q": "x", "a": ""}, None),
        ({"format": "messages", **TURNS, "system": "s"}, {"q": "x", "a": 0}, None),
        (
            {"format": "messages", **TURNS},
            {"q": "x", "a": None},
            "'a', which export.completion names for 'messages', is null",
        ),
        (
            {"format": "alpaca", **TURNS},
            {"a": "x"},
            "'q', which export.prompt names for 'alpaca', is missing",
        ),
        (
            {"format": "preference", "prompt": "q", "chosen": "a", "rejected": "b"},
            {"q": "x", "a": "y"},
            "'b', which export.rejected names for 'preference', is missing",
        ),
    ],
)
def test_it_says_beforehand_which_text_a_row_lacks(
    settings: dict[str, Any], fields: dict[str, Json], says: str | None
) -> None:
    assert missing_text(row(0, **fields), ExportConfig.model_validate(settings)) == says


CALL: Any = {"id": "1", "type": "function", "function": {"name": "t", "arguments": {"a": 1}}}
TALK: Any = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "name": "t", "content": "ok"},
    {"role": "assistant", "content": "!"},
]
WHOLE: dict[str, Any] = {"format": "messages", "messages": "m"}


def test_whole_conversations_go_out_with_their_tools(export: Export, tmp_path: Path) -> None:
    plain = [TALK[0], {**TALK[3], "more": 1}]
    (told,) = export(row(0, m=plain), **WHOLE)
    assert told["messages"] == [TALK[0], TALK[3]]
    first, second = export(
        row(0, m=TALK, t=[{"f": 1}]), row(1, m=plain, t="[]"), **WHOLE, tools="t"
    )
    assert (first["tools"], second["tools"]) == ('[{"f":1}]', "[]")
    ask, call, result, _ = first["messages"]
    assert ask == {**TALK[0], "tool_calls": None, "tool_call_id": None, "name": None}
    assert call["content"] == ""
    assert call["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "t", "arguments": '{"a":1}'}}
    ]
    assert (result["tool_call_id"], result["name"]) == ("1", "t")
    kind = pq.read_schema(tmp_path / "dataset" / "train.parquet").field("messages").type
    function = kind.value_type.field("tool_calls").type.value_type.field("function").type
    assert function.field("arguments").type == pa.json_()  # `datasets` makes an object of it


def test_what_is_no_conversation_is_said_beforehand() -> None:
    half = {**TALK[1], "tool_calls": [{"function": {"name": "t", "arguments": '{"a": '}}]}
    cases: list[tuple[Any, str | None, str | None]] = [
        ({"m": TALK, "t": "[]"}, "t", None),
        ({"m": TALK}, None, "export.tools"),
        ({"m": TALK}, "t", "holds no tools"),
        ({"m": None}, None, "no conversation"),
        ({"m": [{"role": "x", "content": "y"}]}, None, "no message with a role"),
        ({"m": [{"role": "user", "content": 3}]}, None, "must be a text"),
        ({"m": [{"role": "assistant", "tool_calls": ["x"]}], "t": "[]"}, "t", "must be of"),
        ({"m": [TALK[0], half], "t": "[]"}, "t", "arguments: JSON"),
        ({"m": TALK, "t": "[{"}, "t", "holds no tools"),
    ]
    for fields, tools, says in cases:
        config = ExportConfig(**WHOLE, tools=tools)
        told = missing_text(row(0, **fields), config)
        assert told is None if says is None else says in (told or "")
    for config_of, fault in [
        ({"format": "rows", "messages": "m"}, "are of format 'messages'"),
        ({**WHOLE, "input": "i"}, "input is of format 'alpaca'"),
        ({"format": "alpaca", "messages": "m"}, "are of format 'messages'"),
        ({"format": "messages", "tools": "t"}, "tools need messages"),
        ({**WHOLE, "prompt": "q"}, "whole conversations"),
        ({**WHOLE, "tools": "t", "keep": ["tools"]}, "column already"),
    ]:
        with pytest.raises(ValidationError, match=fault):
            ExportConfig.model_validate(config_of)


def test_two_columns_of_one_name_are_refused_when_the_file_is_read() -> None:
    with pytest.raises(ValidationError, match="keep: 'prompt' is a column of 'prompt-completion'"):
        ExportConfig(format="prompt-completion", prompt="q", completion="a", keep=["prompt"])


def test_rows_keeps_only_what_keep_names(export: Export) -> None:
    assert [set(kept) for kept in export(row(0, q="x", gold="y"), keep=["q"])] == [{"id", "q"}]


def test_no_rows_make_a_whole_and_empty_dataset(export: Export) -> None:
    assert export() == []
    assert export(format="messages", prompt="q", completion="a", keep=["k"]) == []


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    rows = [row(i, text=f"t{i}", n=i / 3, tags=["a"] * (i % 3)) for i in range(3_000)]
    contents = []
    for name, order in (("one", rows), ("two", rows[::-1])):
        with RowSpool.of(tmp_path / name / "spool", order) as spool:
            export_dataset(spool, ExportConfig(), tmp_path / name)
        write_rows(sorted(order, key=lambda r: r.order), tmp_path / name / "rows.parquet")
        contents.append([p.read_bytes() for p in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "id"]) | st.text(), json_values, max_size=3),
        max_size=4,
    )
)
def test_whatever_rows_hold_the_export_is_whole_and_both_files_agree(
    export: Export, tmp_path: Path, many: list[dict[str, Json]]
) -> None:
    rows = [Row(id=f"r{i}", order=(i,), roots=(), fields=fields) for i, fields in enumerate(many)]
    found = export(*rows)
    assert [record["id"] for record in found] == [r.id for r in rows]


def test_datasets_loads_the_folder_of_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    folder = tmp_path / "dataset"
    config = ExportConfig(format="messages", prompt="q", completion="a", keep=["n", "x"])
    rows = [row(0, q="x", a="y", n=1), row(1, q="x", a="y", n=0.5, x={"deep": [1]})]
    with RowSpool.of(tmp_path / "spool", rows) as spool:
        export_dataset(spool, config, folder)
    card = "---\nconfigs:\n- config_name: default\n  data_files: train.parquet\n---\n# Card\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert loaded["train"][1] == {
        "id": "r1",
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
        "n": 0.5,
        "x": '{"deep":[1]}',
    }


def test_rows_in_full(tmp_path: Path) -> None:
    rows = [row(0, a=1), Row(id="c", order=(1, 2), roots=("a",), fields={"b": {"c": [None]}})]
    write_rows(rows, tmp_path / "rows" / "rows.parquet")
    assert list(read_rows(tmp_path / "rows" / "rows.parquet")) == rows
    assert pq.read_table(tmp_path / "rows" / "rows.parquet").to_pylist() == [
        {"id": "r0", "order": [0], "roots": ["a", "b"], "made_by": ["k"], "fields": '{"a":1}'},
        {
            "id": "c",
            "order": [1, 2],
            "roots": ["a"],
            "made_by": [],
            "fields": '{"b":{"c":[null]}}',
        },
    ]


def test_records_stream_into_row_groups(tmp_path: Path) -> None:
    schema = pa.schema({"id": pa.string(), "why": pa.string()})
    records = ({"id": str(i), "why": None} for i in range(4_001))
    write_records(tmp_path / "r.parquet", schema, records)
    file = pq.ParquetFile(tmp_path / "r.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [2_000, 2_000, 1]
    assert file.schema_arrow.equals(schema)
    write_records(tmp_path / "r.parquet", schema, [])
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 0


def test_long_rows_make_shorter_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(exports, "CHUNK_BYTES", 1_000)
    records = [{"text": "x" * 3_000} for _ in range(9)]
    write_records(tmp_path / "r.parquet", pa.schema({"text": pa.string()}), records)
    file = pq.ParquetFile(tmp_path / "r.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [4, 4, 1]
    assert file.read().to_pylist() == records


def test_a_deep_list_goes_out_and_comes_back(export: Export) -> None:
    value: list[Any] = [1]
    for _ in range(MAX_DEPTH - 2):
        value = [value]
    assert export(row(0, deep=value, flat=[[1]])) == [
        {"id": "r0", "deep": orjson.dumps(value).decode(), "flat": [[1]]}
    ]


def test_an_error_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old", encoding="utf-8")

    def records() -> Any:
        yield {"id": "x"}
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        write_records(path, pa.schema({"id": pa.string()}), records())
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [
        ("a.json", "old")
    ]
