"""The openai SDK against the fake teacher, end to end: what users' own clients are made of."""

from __future__ import annotations

import io
import json
import math
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from synthkd.fake_teacher import FakeTeacher

MESSAGES: Any = [{"role": "user", "content": "one two"}]
KEY = "sk-planted-0123456789"


@pytest.fixture
def teacher() -> FakeTeacher:
    return FakeTeacher(api_key=KEY, models=["m"])


@pytest.fixture
async def client(teacher: FakeTeacher) -> AsyncIterator[AsyncOpenAI]:
    async with (
        teacher.serve(),
        AsyncOpenAI(base_url=teacher.url, api_key=KEY, max_retries=0) as opened,
    ):
        yield opened


class Ticket(BaseModel):
    label: Literal["refund", "login"]
    urgency: int


async def test_chat(client: AsyncOpenAI, teacher: FakeTeacher) -> None:
    reply = await client.chat.completions.create(
        model="m", messages=MESSAGES, n=2, seed=7, logprobs=True, top_logprobs=2, max_tokens=3
    )
    assert [choice.message.content for choice in reply.choices] == ["echo 7: one", "echo 8: one"]
    assert reply.choices[0].finish_reason == "length"
    assert reply.choices[0].logprobs is not None
    assert len(reply.choices[0].logprobs.content or []) == 3
    assert reply.usage is not None
    assert reply.usage.total_tokens == teacher.billed_tokens
    assert reply.system_fingerprint == "fp_fake"


async def test_a_schema(client: AsyncOpenAI, teacher: FakeTeacher) -> None:
    reply = await client.chat.completions.parse(
        model="m", messages=MESSAGES, response_format=Ticket
    )
    assert reply.choices[0].message.parsed is not None
    teacher.script.append("misfit")
    with pytest.raises(ValueError, match="validation error"):
        await client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Ticket)


async def test_a_tool(client: AsyncOpenAI) -> None:
    tool: Any = openai.pydantic_function_tool(Ticket)
    reply = await client.chat.completions.create(model="m", messages=MESSAGES, tools=[tool])
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    Ticket.model_validate_json(call.function.arguments)


async def test_a_stream(client: AsyncOpenAI) -> None:
    said, usage = "", None
    async for chunk in await client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        said += chunk.choices[0].delta.content or "" if chunk.choices else ""
        usage = chunk.usage or usage
    assert said == "echo -: one two"
    assert usage is not None
    assert usage.completion_tokens == 4


async def test_completions_and_embeddings_and_models(client: AsyncOpenAI) -> None:
    completion = await client.completions.create(model="m", prompt=["a", "b"])
    assert [choice.text for choice in completion.choices] == ["echo -: a", "echo -: b"]
    embedded = await client.embeddings.create(model="m", input=["a", "b"], dimensions=8)
    assert [len(each.embedding) for each in embedded.data] == [8, 8]
    assert math.isclose(math.hypot(*embedded.data[0].embedding), 1.0, abs_tol=1e-6)
    assert [model.id async for model in client.models.list()] == ["m"]


async def test_errors_are_those_of_the_sdk(client: AsyncOpenAI, teacher: FakeTeacher) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.chat.completions.create(model="gone", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="other").models.list()
    teacher.script.append("429")
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="m", messages=MESSAGES)


def requests_file(path: str, bodies: dict[str, dict[str, Any]]) -> io.BytesIO:
    lines = [
        {"custom_id": name, "method": "POST", "url": path, "body": {"model": "m", **body}}
        for name, body in bodies.items()
    ]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file.name = "requests.jsonl"
    return file


async def lines_of(client: AsyncOpenAI, file_id: str | None) -> list[Any]:
    assert file_id is not None
    return [json.loads(line) for line in (await client.files.content(file_id)).text.splitlines()]


async def test_a_batch(client: AsyncOpenAI, teacher: FakeTeacher) -> None:
    bodies = {f"row {n}": {"messages": [{"role": "user", "content": str(n)}]} for n in range(30)}
    teacher.rates["500"] = 0.2
    uploaded = await client.files.create(
        file=requests_file("/v1/chat/completions", bodies), purpose="batch"
    )
    assert (uploaded.purpose, uploaded.status) == ("batch", "processed")
    batch = await client.batches.create(
        input_file_id=uploaded.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"run": "r1"},
    )
    assert batch.status == "validating"
    batch = await client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert batch.metadata == {"run": "r1"}
    assert batch.request_counts is not None
    good = await lines_of(client, batch.output_file_id)
    bad = await lines_of(client, batch.error_file_id)
    assert 0 < len(bad) == batch.request_counts.failed
    assert len(good) == batch.request_counts.completed == teacher.billed_requests == 30 - len(bad)
    assert {line["custom_id"] for line in good + bad} == set(bodies)
    for line in good:
        number = line["custom_id"].removeprefix("row ")
        assert line["response"]["body"]["choices"][0]["message"]["content"] == f"echo -: {number}"
    assert (teacher.requests, teacher.batched) == (0, 30)
    assert [each.id async for each in client.batches.list(limit=1)] == [batch.id]


async def test_a_batch_of_embeddings(client: AsyncOpenAI) -> None:
    file = requests_file("/v1/embeddings", {"a": {"input": "one"}, "b": {"input": ""}})
    uploaded = await client.files.create(file=file, purpose="batch")
    batch = await client.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/embeddings", completion_window="24h"
    )
    done = await client.batches.retrieve(batch.id)
    (good,) = await lines_of(client, done.output_file_id)
    (bad,) = await lines_of(client, done.error_file_id)
    assert len(good["response"]["body"]["data"][0]["embedding"]) == 16
    assert bad["response"]["status_code"] == 400


async def test_a_batch_that_is_cancelled() -> None:
    now_s = 0.0
    teacher = FakeTeacher(batch_delay_s=100, clock=lambda: now_s)
    async with teacher.serve(), AsyncOpenAI(base_url=teacher.url, api_key=KEY) as client:
        bodies = {str(n): {"messages": MESSAGES, "seed": n} for n in range(8)}
        file = requests_file("/v1/chat/completions", bodies)
        uploaded = await client.files.create(file=file, purpose="batch")
        batch = await client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        now_s = 50.0
        assert (await client.batches.retrieve(batch.id)).status == "in_progress"
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        now_s = 70.0
        cancelled = await client.batches.retrieve(batch.id)
        assert cancelled.status == "cancelled"
        assert len(await lines_of(client, cancelled.output_file_id)) == 4 == teacher.batched


async def test_files(client: AsyncOpenAI) -> None:
    sent = [
        await client.files.create(file=(f"{n}.jsonl", b"{}"), purpose="batch") for n in range(3)
    ]
    assert [file.id async for file in client.files.list(limit=2)] == [f.id for f in sent[::-1]]
    assert (await client.files.retrieve(sent[0].id)).filename == "0.jsonl"
    assert (await client.files.delete(sent[0].id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.content(sent[0].id)
    with pytest.raises(openai.BadRequestError, match="must name a file"):
        await client.batches.create(
            input_file_id=sent[0].id, endpoint="/v1/embeddings", completion_window="24h"
        )
