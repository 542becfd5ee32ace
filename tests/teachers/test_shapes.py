"""Whole pipelines over every shape of request and reply, with the fake teacher of the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest
import yaml

from synthkd import Pipeline
from synthkd.fake_teacher import FakeTeacher
from synthkd.manifest import Manifest

JSON = """---
inputs: [text]
output:
  json_schema:
    type: object
    properties: {intent: {type: string, enum: [order, refund]}, urgent: {type: boolean}}
    required: [intent, urgent]
    additionalProperties: false
---
{# user #}
{{ text }}
"""
RAW = "---\ninputs: [text]\n---\n{# raw #}\n<|user|>{{ text }}<|assistant|>\n\n"


class Project:
    """A pipeline of one `generate` step in a folder of its own."""

    def __init__(self, folder: Path, teacher: FakeTeacher) -> None:
        self.folder = folder
        self.teacher = teacher
        rows = [{"id": n, "text": f"Where is order {n}?"} for n in range(3)]
        (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))

    async def run(
        self,
        prompt: str,
        *,
        params: Mapping[str, Any] | None = None,
        step: Mapping[str, Any] | None = None,
        out: str = "out",
        **teacher: Any,
    ) -> Manifest:
        (self.folder / "p.md.j2").write_text(prompt, encoding="utf-8")
        settings = {"teacher": "main", "prompt": "p", **(step or {})}
        block = {"endpoint": self.teacher.url, "model": "m", "served_by": "me", **teacher}
        pipeline = {
            "name": "shapes",
            "teachers": {"main": {**block, "params": params or {"max_tokens": 200}}},
            "budget": {"requests": 100, "tokens": 1_000_000},
            "source": {"jsonl": "rows.jsonl", "id": ["id"]},
            "steps": [{"use": "generate", "with": settings}],
            "limits": {"max_failed": 1, "max_rejected": 1},
        }
        file = self.folder / "p.yaml"
        file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
        ledger = str(self.folder / "ledger.sqlite")
        return await Pipeline.load(file, out=self.folder / out, ledger=ledger).run()

    def dataset(self, out: str = "out") -> Sequence[Mapping[str, Any]]:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(
            self.folder / out / "dataset" / "train.parquet"
        ).to_pylist()
        return rows


@pytest.mark.parametrize("stream", [False, True])
async def test_json_with_a_repair_is_paid_once(tmp_path: Path, stream: bool) -> None:
    async with FakeTeacher(script=["misfit"]).serve() as teacher:
        project = Project(tmp_path, teacher)
        manifest = await project.run(JSON, stream=stream)
        assert manifest.counts.kept == 3
        assert teacher.billed_requests == 3 + 1
        assert manifest.spend.requests == 4
        for row in project.dataset():
            value = orjson.loads(row["response"])  # a dataset holds objects as JSON text
            assert value.keys() == {"intent", "urgent"}
            assert value["intent"] in {"order", "refund"}
        await project.run(JSON, stream=stream, out="again")
        assert project.dataset("again") == project.dataset()
        assert teacher.billed_requests == 4, "a replay buys nothing, the repair included"


async def test_json_that_stays_faulty_is_lost_with_its_reason(tmp_path: Path) -> None:
    async with FakeTeacher(rates={"misfit": 1.0}).serve() as teacher:
        manifest = await Project(tmp_path, teacher).run(JSON)
    assert manifest.funnel["generate"].reasons == {"bad_json": 3}
    assert teacher.billed_requests == 6


@pytest.mark.parametrize("stream", [False, True])
async def test_a_raw_prompt_is_continued(tmp_path: Path, stream: bool) -> None:
    async with FakeTeacher().serve() as teacher:
        project = Project(tmp_path, teacher)
        manifest = await project.run(RAW, stream=stream)
        prompts = sorted(body["prompt"] for body in teacher.seen)
    assert manifest.counts.kept == 3
    assert prompts[0] == "<|user|>Where is order 0?<|assistant|>\n"
    assert all("order" in row["response"] for row in project.dataset())


async def test_a_loop_is_broken_off_stored_and_lost(tmp_path: Path) -> None:
    async with FakeTeacher(rates={"loop": 1.0}).serve() as teacher:
        project = Project(tmp_path, teacher)
        chat = "---\ninputs: [text]\n---\n{# user #}\n{{ text }}\n"
        for out in ("out", "again"):
            manifest = await project.run(chat, params={"max_tokens": 9000}, out=out)
            assert manifest.funnel["generate"].reasons == {"repetition": 3}
        assert teacher.requests == 3, "it is not asked for twice"


async def test_a_thought_of_16000_tokens_is_streamed_whole(tmp_path: Path) -> None:
    async with FakeTeacher(reasoning_tokens=16_000).serve() as teacher:
        project = Project(tmp_path, teacher)
        chat = "---\ninputs: [text]\n---\n{# user #}\n{{ text }}\n"
        # Far longer than the time that an unstreamed answer would have.
        manifest = await project.run(chat, params={"max_tokens": 20_000}, timeout_s=0.05)
        assert manifest.teachers["main"].attempts == 3
        assert manifest.teachers["main"].reasoning_tokens == 3 * 16_000
        for row in project.dataset():
            assert len(row["reasoning"].split()) == 16_000
            assert row["finish"] == "stop"


async def test_a_cut_answer_gets_more_room_once(tmp_path: Path) -> None:
    chat = "---\ninputs: [text]\n---\n{# user #}\n{{ text }}\n"
    async with FakeTeacher().serve() as teacher:
        project = Project(tmp_path, teacher)
        cut = await project.run(chat, params={"max_tokens": 2}, out="cut")
        assert {row["finish"] for row in project.dataset("cut")} == {"length"}
        await project.run(chat, params={"max_tokens": 2}, step={"longer": 50}, out="whole")
        assert {row["finish"] for row in project.dataset("whole")} == {"stop"}
        assert teacher.requests == 3 + 3, "the cut ones were there"
    assert cut.counts.kept == 3


async def test_a_model_that_changes_within_a_run_is_in_the_manifest(tmp_path: Path) -> None:
    chat = "---\ninputs: [text]\n---\n{# user #}\n{{ text }}\n"
    async with FakeTeacher().serve() as one, FakeTeacher(served_model="other").serve() as two:
        project = Project(tmp_path, one)
        urls = [one.url, two.url]
        manifest = await project.run(
            chat, step={"samples": 2}, params={"temperature": 1, "max_tokens": 99}, endpoint=urls
        )
    assert len(manifest.teachers["main"].served) == 2
    assert one.requests + two.requests == 6
