"""Fine-tuning jobs of the fake provider, through the openai SDK and its types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob

from synthkd.errors import UserError
from synthkd.fake_teacher import FakeTeacher
from synthkd.fake_teacher.fine_tuning import problem_of
from tests.teachers.batches.driving import Clock

DELAY_S = 100.0
PAIRS = [("my money back", "refund"), ("the password is wrong", "login")] * 5


def example(said: str, answer: str, **more: Any) -> dict[str, Any]:
    assistant = {"role": "assistant", "content": answer, **more}
    return {"messages": [{"role": "user", "content": said}, assistant]}


def file_of(examples: list[Any]) -> bytes:
    return "\n".join(json.dumps(each) for each in examples).encode()


GOOD = file_of([example(*pair) for pair in PAIRS])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def teacher(clock: Clock) -> FakeTeacher:
    return FakeTeacher(job_delay_s=DELAY_S, clock=clock, models=["base"])


@pytest.fixture
async def client(teacher: FakeTeacher) -> AsyncIterator[AsyncOpenAI]:
    async with (
        teacher.serve(),
        AsyncOpenAI(base_url=teacher.url, api_key="sk", max_retries=0) as opened,
    ):
        yield opened


async def created(
    client: AsyncOpenAI, content: bytes = GOOD, metadata: Mapping[str, str] | None = None
) -> FineTuningJob:
    file = await client.files.create(file=("t.jsonl", content), purpose="fine-tune")
    return await client.fine_tuning.jobs.create(
        model="base",
        training_file=file.id,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        suffix="mine",
        metadata=dict(metadata or {}),
    )


async def test_a_job_takes_its_course_and_its_model_answers_what_it_learnt(
    client: AsyncOpenAI, teacher: FakeTeacher, clock: Clock
) -> None:
    job = await created(client)
    assert (job.status, job.fine_tuned_model, job.trained_tokens) == (
        "validating_files",
        None,
        None,
    )
    seen = []
    for _ in range(10):
        clock.now += DELAY_S / 10
        job = await client.fine_tuning.jobs.retrieve(job.id)
        seen.append(job.status)
    assert list(dict.fromkeys(seen)) == ["queued", "running", "succeeded"]
    assert job.fine_tuned_model == f"ft:base:fake:mine:{job.id[-8:]}"
    tokens = sum(len(said) + len(answer) + 2 * 16 for said, answer in PAIRS)
    assert job.trained_tokens == 2 * tokens == teacher.fine_tuning.trained_tokens
    assert job.hyperparameters.n_epochs == 2
    answers = [
        await client.chat.completions.create(
            model=job.fine_tuned_model, messages=[{"role": "user", "content": said}]
        )
        for said in ("I want my money", "wrong password")
    ]
    assert [each.choices[0].message.content for each in answers] == ["refund", "login"]


async def test_its_events_come_page_by_page_newest_first(client: AsyncOpenAI, clock: Clock) -> None:
    job = await created(client)
    clock.now += DELAY_S
    page = await client.fine_tuning.jobs.list_events(job.id, limit=4)
    assert page.has_more
    events = [event async for event in page]
    assert len({event.id for event in events}) == len(events) == 16
    assert events[0].message == "The job has successfully completed"
    assert events[-1].message == f"Created fine-tuning job: {job.id}"
    steps: list[Any] = [event.data for event in events if event.type == "metrics"]
    assert [each["step"] for each in steps] == [*range(10, 0, -1)]


async def test_a_model_is_there_when_its_job_has_succeeded(
    client: AsyncOpenAI, clock: Clock
) -> None:
    job = await created(client)
    for model in (f"ft:base:fake:mine:{job.id[-8:]}", "ft:base:fake::nobody"):
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "x"}]
            )
    clock.now += DELAY_S
    again = await client.chat.completions.create(
        model=f"ft:base:fake:mine:{job.id[-8:]}", messages=[{"role": "user", "content": "x"}]
    )
    assert again.choices[0].message.content == "refund"


async def test_cancelled_it_is_billed_as_far_as_it_came(
    client: AsyncOpenAI, teacher: FakeTeacher, clock: Clock
) -> None:
    job = await created(client)
    clock.now += DELAY_S * 0.55  # half of the training
    cancelled = await client.fine_tuning.jobs.cancel(job.id)
    clock.now += DELAY_S
    assert (await client.fine_tuning.jobs.retrieve(job.id)).status == "cancelled"
    tokens = 2 * sum(len(said) + len(answer) + 2 * 16 for said, answer in PAIRS)
    assert cancelled.trained_tokens == pytest.approx(tokens / 2, abs=1)
    assert teacher.fine_tuning.trained_tokens == cancelled.trained_tokens
    with pytest.raises(openai.BadRequestError, match="already completed"):
        await client.fine_tuning.jobs.cancel(job.id)


async def test_jobs_are_listed_newest_first_and_by_their_metadata(client: AsyncOpenAI) -> None:
    jobs = [await created(client, metadata={"mark": mark}) for mark in "aba"]
    listed = [job.id async for job in client.fine_tuning.jobs.list(limit=2)]
    assert listed == [job.id for job in reversed(jobs)]
    marked = [job.id async for job in client.fine_tuning.jobs.list(metadata={"mark": "a"})]
    assert marked == [jobs[2].id, jobs[0].id]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (file_of([example("a", "b")] * 9), "invalid_n_examples", "has 9 example"),
        (GOOD + b"\n{", "invalid_training_file", "Line 11 is not valid JSON"),
        (
            GOOD + b'\n{"messages":[{"content":"x"}]}',
            "invalid_training_file",
            "Example 11, message 1 Discriminator 'role' is missing",
        ),
        (
            GOOD + b"\n" + file_of([example("a", "")]),
            "invalid_training_file",
            "Example 11, message 2 has no content",
        ),
        (
            GOOD + b"\n" + file_of([example("a", "b", weight=0.5)]),
            "invalid_training_file",
            "should be 0 or 1",
        ),
    ],
)
async def test_a_file_that_is_none_fails_the_job_and_bills_nothing(
    client: AsyncOpenAI, teacher: FakeTeacher, clock: Clock, content: bytes, code: str, said: str
) -> None:
    job = await created(client, content)
    clock.now += DELAY_S / 10
    job = await client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.error.param) == (code, "training_file")
    assert said in job.error.message
    clock.now += DELAY_S
    assert teacher.fine_tuning.trained_tokens == 0
    assert problem_of(GOOD) is None


async def test_faults_of_jobs(client: AsyncOpenAI, teacher: FakeTeacher, clock: Clock) -> None:
    teacher.fine_tuning.script.extend(["blocked", "failed", "vanished"])
    blocked, failed, vanished = [await created(client) for _ in range(3)]
    clock.now += DELAY_S
    errors = [(await client.fine_tuning.jobs.retrieve(job.id)).error for job in (blocked, failed)]
    assert "moderation" in (errors[0].message if errors[0] else "")
    assert (errors[1].code if errors[1] else "") == "server_error"
    with pytest.raises(openai.NotFoundError, match="Could not find"):
        await client.fine_tuning.jobs.retrieve(vanished.id)
    assert len([job async for job in client.fine_tuning.jobs.list()]) == 2
    with pytest.raises(UserError, match="no fault of a job 'nothing'"):
        FakeTeacher(job_script=["nothing"])


async def test_what_makes_no_job_is_refused(client: AsyncOpenAI, teacher: FakeTeacher) -> None:
    file = await client.files.create(file=("t.jsonl", GOOD), purpose="fine-tune")
    other = await client.files.create(file=("t.jsonl", GOOD), purpose="batch")
    refused: list[dict[str, Any]] = [
        {"model": "another", "training_file": file.id},
        {"model": "base", "training_file": other.id},
        {"model": "base", "training_file": "file-none"},
        {"model": "base", "training_file": file.id, "suffix": "x" * 65},
        {"model": "base", "training_file": file.id, "hyperparameters": {"n_epochs": 51}},
    ]
    for asked in refused:
        with pytest.raises(openai.BadRequestError):
            await client.fine_tuning.jobs.create(**asked)
    assert teacher.fine_tuning.jobs == {}


async def test_a_provider_without_jobs_answers_404() -> None:
    async with (
        FakeTeacher(has_fine_tuning=False).serve() as teacher,
        AsyncOpenAI(base_url=teacher.url, api_key="sk", max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError):
            await created(client)
