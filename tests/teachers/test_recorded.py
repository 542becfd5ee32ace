from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkd.config import RecordedConfig
from synthkd.errors import NotRecorded, UserError
from synthkd.teachers.recorded import RecordedTeacher, check_recorded
from synthkd.teachers.request import Request

ROWS: list[dict[str, Any]] = [
    {"question": "Why?", "level": 1, "raw": "Because.", "split": "train"},
    {"question": "How?", "level": 1, "raw": "So.", "split": "train"},
    {"question": "Why?", "level": 1, "raw": "Therefore é.", "split": "train"},
    {"question": "Why?", "level": 2, "raw": "Deep.", "split": "test"},
    {"question": "Why?", "level": 1, "raw": None, "split": "train"},
]


@pytest.fixture(params=["jsonl", "parquet"])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / f"answers.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_bytes(b"\n".join(orjson.dumps(row) for row in ROWS) + b"\n\n")
    return request.param, path


def teacher(recorded: tuple[str, Path], **settings: Any) -> RecordedTeacher:
    kind, path = recorded
    values = {kind: path.name, "match": "question", "text": "raw", **settings}
    return RecordedTeacher(RecordedConfig.model_validate(values), path)


def ask(sample: int = 0, **inputs: Any) -> Request:
    return Request(body={"model": "m", "messages": []}, sample=sample, inputs=inputs)


async def test_sample_k_is_the_kth_of_the_file(recorded: tuple[str, Path]) -> None:
    asked = teacher(recorded)
    answers = [(await asked.complete(ask(k, question="Why?"))).text for k in range(3)]
    assert answers == ["Because.", "Therefore é.", "Deep."]
    completion = await asked.complete(ask(question="How?", extra=1))
    assert (completion.text, completion.finish, completion.served_model) == ("So.", "stop", "m")
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (0, 0)


async def test_what_is_not_there(recorded: tuple[str, Path]) -> None:
    asked = teacher(recorded)
    with pytest.raises(NotRecorded, match=r"has 3 answers for question='Why\?', sample 3"):
        await asked.complete(ask(3, question="Why?"))
    with pytest.raises(NotRecorded, match="has 0 answers"):
        await asked.complete(ask(question="Where?"))
    with pytest.raises(UserError, match=r"inputs have no 'question'; did you mean questions\?"):
        await asked.complete(ask(questions="Why?"))


async def test_match_by_several_and_only_some_rows(recorded: tuple[str, Path]) -> None:
    asked = teacher(recorded, match=["question", "level"])
    assert (await asked.complete(ask(question="Why?", level=2))).text == "Deep."
    asked = teacher(recorded, where={"split": "test"})
    assert (await asked.complete(ask(question="Why?"))).text == "Deep."
    with pytest.raises(NotRecorded):
        await asked.complete(ask(question="How?"))


def test_the_identity_is_the_content_and_how_it_is_read(
    recorded: tuple[str, Path], tmp_path: Path
) -> None:
    one = teacher(recorded).identity
    moved = tmp_path / "elsewhere"
    moved.write_bytes(recorded[1].read_bytes())
    assert teacher((recorded[0], moved)).identity == one
    assert teacher(recorded, text="question").identity != one
    assert teacher(recorded, where={"split": "test"}).identity != one
    assert one.reads_inputs
    rows = [replace_text(row) for row in ROWS]
    other = tmp_path / "other.jsonl"
    other.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    assert teacher(("jsonl", other)).identity != one


def replace_text(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "raw": "Other."}


def test_a_column_that_is_not_there(recorded: tuple[str, Path]) -> None:
    with pytest.raises(
        UserError, match=r"no column 'questoin'; did you mean question\?; there are: level, que"
    ):
        teacher(recorded, match="questoin")
    with pytest.raises(UserError, match="no column 'teacher_raw'"):
        teacher(recorded, text="teacher_raw")
    with pytest.raises(UserError, match=r"'level' .* must hold text, got int"):
        teacher(recorded, text="level")


def test_a_wrong_column_is_found_without_reading_it_all(
    recorded: tuple[str, Path],
) -> None:
    kind, path = recorded
    good = {kind: path.name, "match": "question", "text": "raw", "where": {"split": "train"}}
    check_recorded(RecordedConfig.model_validate(good), path)
    for wrong in ({"match": ["question", "no"]}, {"text": "no"}, {"where": {"no": 1}}):
        with pytest.raises(UserError, match="have no column 'no'"):
            check_recorded(RecordedConfig.model_validate({**good, **wrong}), path)
    with pytest.raises(UserError, match=r"'level' .* must hold text, got int"):
        check_recorded(RecordedConfig.model_validate({**good, "text": "level"}), path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for kind in ("jsonl", "parquet"):
        with pytest.raises(UserError, match=r"missing.* cannot be read"):
            teacher((kind, tmp_path / "missing"))
    broken = tmp_path / "broken"
    broken.write_bytes(b'{"question": "x", "raw": "y"}\n{"question": \n')
    with pytest.raises(UserError, match="broken, line 2 is not JSON"):
        teacher(("jsonl", broken))
    with pytest.raises(UserError, match="broken is not a readable Parquet file"):
        teacher(("parquet", broken))
    broken.write_bytes(b"[1]\n")
    with pytest.raises(UserError, match="line 1 is not a JSON object"):
        teacher(("jsonl", broken))


async def test_the_same_bytes_for_the_same_question(recorded: tuple[str, Path]) -> None:
    request = ask(question="Why?")
    replies = {(await teacher(recorded).complete(request)).reply for _ in range(2)}
    assert len(replies) == 1
    other = request._replace(body={})
    assert (await teacher(recorded).complete(other)).served_model == "recorded"
