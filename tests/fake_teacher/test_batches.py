"""The course of a batch, on a clock of the test's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.fake_teacher.batches import Batch, Batches
from synthkd.fake_teacher.faults import Refusal

PATH = "/v1/chat/completions"


class Provider:
    """Batches that echo their bodies; a body with `bad` is refused."""

    def __init__(self, delay_s: float = 100.0, *script: str | None) -> None:
        self.now_s = 1000.0
        self.asked: list[Any] = []
        self.batches = Batches(
            self.answer, delay_s=delay_s, script=script, wall_clock=lambda: self.now_s
        )

    def answer(self, path: str, body: dict[str, Any], broken: str | None) -> tuple[int, Any]:
        assert path == PATH
        self.asked.append(body)
        bad = broken or "bad" in body
        return (500, {"error": {}}) if bad else (200, {"echo": body["x"]})

    def start(self, lines: int = 10, **more: Any) -> Batch:
        bodies = [{"model": "m", "x": number, **more} for number in range(lines)]
        return self.start_with([line(f"id{n}", body) for n, body in enumerate(bodies)])

    def start_with(self, lines: list[Any], **changes: Any) -> Batch:
        text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
        file = self.batches.add_file("in.jsonl", "batch", text.encode())
        asked = {"input_file_id": file.id, "endpoint": PATH, "completion_window": "24h"}
        return self.batches.create({**asked, **changes}, [PATH, "/v1/embeddings"])

    def at(self, batch: Batch, seconds: float) -> Batch:
        self.now_s = 1000.0 + seconds
        return self.batches.look(batch.id)

    def lines_of(self, file_id: str | None) -> list[Any]:
        if file_id is None:
            return []
        return [json.loads(each) for each in self.batches.files[file_id].content.splitlines()]


def line(custom_id: str, body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": PATH, "body": body, **changes}


def test_from_validating_to_completed() -> None:
    provider = Provider()
    batch = provider.start()
    assert batch.as_json["status"] == "validating"
    assert provider.at(batch, 9).status == "validating"
    assert provider.at(batch, 50).as_json["request_counts"] == {
        "total": 10, "completed": 5, "failed": 0,
    }  # fmt: skip
    assert batch.status == "in_progress"
    assert len(provider.asked) == 5, "what is not due is not billed"
    assert provider.at(batch, 95).status == "finalizing"
    assert batch.output_file_id is None
    assert provider.at(batch, 100).status == "completed"
    told = batch.as_json
    assert (told["created_at"], told["completed_at"], told["failed_at"]) == (1000, 1100, None)
    assert told["error_file_id"] is None
    written = provider.lines_of(told["output_file_id"])
    assert {each["custom_id"]: each["response"]["body"]["echo"] for each in written} == {
        f"id{number}": number for number in range(10)
    }
    assert [each["custom_id"] for each in written] != [f"id{n}" for n in range(10)], "no order"
    provider.at(batch, 500)
    assert len(provider.asked) == 10


def test_without_a_delay_it_is_complete_when_first_looked_at() -> None:
    provider = Provider(0)
    batch = provider.start()
    assert batch.status == "validating"
    assert provider.batches.look(batch.id).status == "completed"


def test_failed_lines_are_in_the_error_file() -> None:
    provider = Provider(0, "partial")
    batch = provider.batches.look(provider.start().id)
    bad = provider.lines_of(batch.error_file_id)
    assert sorted(each["custom_id"] for each in bad) == ["id1", "id3", "id5", "id7", "id9"]
    assert {each["response"]["status_code"] for each in bad} == {500}
    assert len(provider.lines_of(batch.output_file_id)) == 5
    assert batch.as_json["request_counts"] == {"total": 10, "completed": 5, "failed": 5}
    refused = provider.batches.look(provider.start(bad=True).id)
    assert refused.output_file_id is None


def test_a_batch_expires_half_done() -> None:
    provider = Provider(100, "expired")
    batch = provider.start()
    assert provider.at(batch, 40).status == "in_progress"
    assert provider.at(batch, 60).status == "expired"
    assert len(provider.lines_of(batch.output_file_id)) == 5 == len(provider.asked)
    errors = [each["error"]["code"] for each in provider.lines_of(batch.error_file_id)]
    assert errors == ["batch_expired"] * 5


def test_a_cancelled_batch_keeps_what_is_done() -> None:
    provider = Provider()
    batch = provider.start()
    provider.at(batch, 50)
    assert provider.batches.cancel(batch.id).status == "cancelling"
    assert provider.at(batch, 55).status == "cancelling"
    assert provider.at(batch, 60).status == "cancelled"
    assert len(provider.lines_of(batch.output_file_id)) == 5 == len(provider.asked)
    with pytest.raises(Refusal, match="Cannot cancel a batch with status 'cancelled'"):
        provider.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "empty_file"),
        (["{"], "invalid_json_line"),
        (["[]"], "invalid_json_line"),
        ([{"custom_id": "a"}], "invalid_json_line"),
        ([line("a", {"model": "m"}), line("a", {"model": "m"})], "duplicate_custom_id"),
        ([line("a", {"model": "m"}, url="/v1/embeddings")], "invalid_url"),
        ([line("a", {"model": "m"}, method="GET")], "invalid_url"),
        ([line("a", {"model": "m"}), line("b", {"model": "n"})], "mismatched_model"),
        ([{**line("a", {}), "custom_id": 7}], "invalid_request"),
    ],
)
def test_validation_finds_what_is_wrong(lines: list[Any], code: str) -> None:
    provider = Provider()
    batch = provider.start_with(lines)
    assert provider.at(batch, 5).status == "validating"
    assert provider.at(batch, 20).status == "failed"
    assert [each["code"] for each in batch.as_json["errors"]["data"]] == [code]
    assert not provider.asked
    assert batch.output_file_id is None


def test_a_validation_fails_on_purpose() -> None:
    provider = Provider(0, "invalid", None)
    failed = provider.batches.look(provider.start().id)
    assert failed.status == "failed"
    assert provider.batches.look(provider.start().id).status == "completed"


@pytest.mark.parametrize(
    "changes",
    [{"input_file_id": "file-x"}, {"endpoint": "/v1/images"}, {"completion_window": "1h"}],
)
def test_what_makes_no_batch(changes: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=next(iter(changes))):
        Provider().start_with([line("a", {"model": "m"})], **changes)


def test_what_is_not_there() -> None:
    with pytest.raises(Refusal, match="No batch found with id 'x'"):
        Provider().batches.look("x")
    with pytest.raises(
        UserError, match="no batch fault 'late'; there are invalid enqueued expired"
    ):
        Provider(0, "late")


@given(st.lists(st.floats(0, 130), max_size=8), st.none() | st.floats(0, 130), st.integers(1, 30))
def test_however_often_one_looks_each_line_is_asked_once_at_most(
    looks: list[float], cancelled_at: float | None, lines: int
) -> None:
    provider = Provider()
    batch = provider.start(lines)
    for seconds in sorted([*looks, 200.0]):
        if cancelled_at is not None and seconds >= cancelled_at:
            provider.now_s = 1000.0 + cancelled_at
            if provider.batches.look(batch.id).status != "completed":
                provider.batches.cancel(batch.id)
            cancelled_at = None
        provider.at(batch, seconds)
    assert batch.status in {"completed", "cancelled"}
    assert len(provider.asked) == batch.done == len(provider.lines_of(batch.output_file_id))
    assert batch.status == "cancelled" or batch.done == lines
