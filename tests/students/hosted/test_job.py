"""One job against the fake provider: made once whatever breaks, found again, awaited, given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest

from synthkd.config import HostedConfig
from synthkd.errors import (
    BudgetReached,
    SynthkdError,
    TeacherRefused,
    TrainingFailed,
    UserError,
)
from synthkd.fake_teacher import FakeTeacher
from synthkd.ledger import Cost
from synthkd.rows import source_row
from synthkd.students.hosted.chat_file import write_chat_file
from synthkd.students.hosted.job import JOB, Job, Order, Sleep, give_up, read_job, write_job
from synthkd.students.hosted.provider import JobStatus, open_jobs
from synthkd.students.hosted.student import tag_of
from tests.teachers.batches.driving import Clock

ROWS = [
    source_row("s", [n], ordinal=n, fields={"text": f"say {n}", "label": "yes" if n % 2 else "no"})
    for n in range(12)
]


class Purse:
    """What was spent, in nano-dollars."""

    def __init__(self, limit: int = 10**9) -> None:
        self.limit = limit
        self.spent = 0

    async def spend(self, most: Cost) -> None:
        if self.spent + most.nano_usd > self.limit:
            raise BudgetReached("budget.usd is too small")
        self.spent += most.nano_usd

    def give_back(self, rest: Cost) -> None:
        self.spent -= rest.nano_usd


def config(provider: FakeTeacher, **more: Any) -> HostedConfig:
    block = {
        "kind": "hosted",
        "base": "m",
        "endpoint": provider.url,
        "prompt": "text",
        "completion": "label",
        "epochs": 2,
        **more,
    }
    return HostedConfig.model_validate(block)


class Trainee:
    """The training of one student, which may be tried again and again."""

    def __init__(self, work: Path, clock: Clock, settings: HostedConfig) -> None:
        self.work = work
        self.clock = clock
        self.config = settings
        self.purse = Purse()
        self.told: list[str] = []
        self.waited_s: list[float] = []
        self.sleep: Sleep = self._sleep

    async def train(self) -> JobStatus:
        file = write_chat_file(ROWS, self.config, self.work / "training.jsonl")
        order = Order(
            tag=tag_of(file, self.config),
            config=self.config,
            file=file,
            most=Cost(nano_usd=10_000 * file.most_tokens),
            nano_usd=lambda tokens: 1000 * tokens,
        )
        async with open_jobs(self.config) as provider:
            job = Job(order, provider, self.work, self.purse, self.told.append, self.sleep)  # type: ignore[arg-type]
            return await job.trained()

    async def _sleep(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        await self.clock.sleep(seconds)


@pytest.fixture
def trainee(tmp_path: Path, provider: FakeTeacher, clock: Clock) -> Trainee:
    return Trainee(tmp_path, clock, config(provider, poll_s=2))


async def test_the_happy_way(provider: FakeTeacher, trainee: Trainee) -> None:
    status = await trainee.train()
    (job,) = provider.fine_tuning.jobs.values()
    assert (status.id, status.model) == (job.id, job.model)
    assert status.trained_tokens == provider.fine_tuning.trained_tokens
    assert trainee.purse.spent == 1000 * provider.fine_tuning.trained_tokens
    assert status.hyperparameters["n_epochs"] == 2
    (file,) = provider.batches.files.values()
    assert (file.purpose, file.content) == (
        "fine-tune",
        (trainee.work / "training.jsonl").read_bytes(),
    )
    assert trainee.told[0] == "uploading 12 examples"
    assert any("running: Step 5/10: training loss=" in line for line in trainee.told)
    assert len(trainee.told) == len(set(trainee.told)), "no event is told twice"
    # Each look later than the one before, up to ten times.
    assert trainee.waited_s[:3] == [2, 3, 4.5]
    assert max(trainee.waited_s) <= 20


async def test_what_is_trained_is_not_trained_again(
    provider: FakeTeacher, trainee: Trainee, tmp_path: Path, clock: Clock
) -> None:
    first = await trainee.train()
    assert await trainee.train() == first
    elsewhere = Trainee(tmp_path / "elsewhere", clock, trainee.config)
    assert await elsewhere.train() == first
    assert len(provider.fine_tuning.jobs) == 1
    assert elsewhere.purse.spent == 0
    other = Trainee(tmp_path / "other", clock, config(provider, epochs=3))
    assert (await other.train()).id != first.id


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("fault", ["500", "429", "reset", "lost"])
async def test_whichever_call_breaks_there_is_one_job(
    provider: FakeTeacher, trainee: Trainee, fault: str, call: int
) -> None:
    # The calls are: search, upload, create, look, events, look, events, look.
    provider.batch_call_script.extend([*[None] * call, fault])
    with contextlib.suppress(TrainingFailed):
        await trainee.train()
    await trainee.train()
    assert len(provider.fine_tuning.jobs) == 1
    assert trainee.purse.spent == 1000 * provider.fine_tuning.trained_tokens
    assert provider.faults[fault] == 1


async def test_a_killed_run_goes_on_with_its_job_and_pays_once(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    """As a kill would, everything is cut off while it waits; then nothing but job.json is left."""

    async def die(_: float) -> None:
        raise asyncio.CancelledError

    trainee.sleep = die
    with pytest.raises(asyncio.CancelledError):
        await trainee.train()
    begun = read_job(trainee.work)
    assert begun is not None
    assert (begun.job_id, begun.goes_on) == (*provider.fine_tuning.jobs, True)
    # Killed a moment before, it would not know its job.
    for known in ({}, {"job_id": None}, {"job_id": None, "file_id": None}):
        write_job(trainee.work, begun.model_copy(update=known))
        again = Trainee(trainee.work, trainee.clock, trainee.config)
        again.purse.spent = trainee.purse.spent
        assert (await again.train()).id == begun.job_id
        assert again.purse.spent == 1000 * provider.fine_tuning.trained_tokens
    assert len(provider.fine_tuning.jobs) == 1


async def test_interrupted_it_says_how_to_go_on(
    trainee: Trainee, caplog: pytest.LogCaptureFixture
) -> None:
    async def interrupted(_: float) -> None:
        raise asyncio.CancelledError

    trainee.sleep = interrupted
    with caplog.at_level(logging.WARNING), pytest.raises(asyncio.CancelledError):
        await trainee.train()
    begun = read_job(trainee.work)
    assert begun is not None
    assert f"{begun.job_id} goes on at the provider: run again" in caplog.text
    assert "`synthkd job cancel DIR`" in caplog.text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("failed", "failed: server_error: The job failed due to an internal error"),
        ("blocked", "invalid_training_file: .*blocked by our moderation"),
        ("vanished", r"knows no job ftjob-\w+ \(any more\)"),
    ],
)
async def test_a_job_that_comes_to_nothing_is_told_and_can_be_tried_again(
    provider: FakeTeacher, trainee: Trainee, fault: str, said: str
) -> None:
    provider.fine_tuning.script.append(fault)
    with pytest.raises(TrainingFailed, match=said):
        await trainee.train()
    lost = trainee.purse.spent  # what vanished may have been billed
    assert (lost > 0) == (fault == "vanished")
    await trainee.train()
    assert len(provider.fine_tuning.jobs) == 2
    trained = [job.trained_tokens for job in provider.fine_tuning.jobs.values()]
    assert trainee.purse.spent == lost + 1000 * trained[1]


async def test_what_does_not_fit_the_budget_is_not_sent(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    trainee.purse.limit = 1
    with pytest.raises(BudgetReached, match=r"student: the fine-tuning job: budget\.usd"):
        await trainee.train()
    assert not provider.batches.files
    assert not provider.fine_tuning.jobs


async def test_a_provider_that_refuses_is_quoted_and_nothing_is_paid(
    clock: Clock, tmp_path: Path
) -> None:
    refusals: list[tuple[dict[str, Any], type[SynthkdError], str]] = [
        ({"models": ["other"]}, TrainingFailed, "Model m is not available for fine-tuning"),
        ({"has_fine_tuning": False}, TeacherRefused, "has no fine-tuning API there"),
        ({"api_key": "sk-right"}, TeacherRefused, "HTTP 401"),
        ({"batch_bytes": 10}, TrainingFailed, "HTTP 413"),
    ]
    for options, error, said in refusals:
        async with FakeTeacher(clock=clock, **options).serve() as teacher:
            trainee = Trainee(tmp_path / said.replace(" ", "-"), clock, config(teacher))
            with pytest.raises(error, match=said):
                await trainee.train()
            assert trainee.purse.spent == 0


async def test_a_silent_provider_is_waited_for_and_then_left(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    provider.batch_call_script.extend([*[None] * 3, *["500"] * 500])
    with pytest.raises(TrainingFailed, match="goes on at the provider"):
        await trainee.train()
    assert 1800 < sum(trainee.waited_s) < 2000
    provider.batch_call_script.clear()
    await trainee.train()
    assert len(provider.fine_tuning.jobs) == 1


async def test_the_job_of_other_rows_is_not_left_alone(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    async def die(_: float) -> None:
        raise asyncio.CancelledError

    trainee.sleep = die
    with pytest.raises(asyncio.CancelledError):
        await trainee.train()
    other = Trainee(trainee.work, trainee.clock, config(provider, epochs=3))
    with pytest.raises(UserError, match=r"learns from other rows or settings: `synthkd job cancel"):
        await other.train()
    begun = read_job(trainee.work)
    assert begun is not None
    async with open_jobs(trainee.config) as jobs:
        said = await give_up(trainee.work, jobs, begun)
    assert said == f"{begun.job_id} is cancelled, 0 tokens billed"
    await other.train()
    states = [job.status for job in provider.fine_tuning.jobs.values()]
    assert states == ["cancelled", "succeeded"]


async def test_cancelled_by_somebody_else_it_is_billed_as_far_as_it_came(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    async def cancelled(seconds: float) -> None:
        await trainee.clock.sleep(seconds)
        if len(trainee.told) > 8:
            provider.fine_tuning.cancel(next(iter(provider.fine_tuning.jobs)))

    trainee.sleep = cancelled
    with pytest.raises(TrainingFailed, match="was cancelled"):
        await trainee.train()
    assert 0 < trainee.purse.spent == 1000 * provider.fine_tuning.trained_tokens


async def test_giving_up_what_was_never_made_or_is_over(
    provider: FakeTeacher, trainee: Trainee
) -> None:
    await trainee.train()
    begun = read_job(trainee.work)
    assert begun is not None
    async with open_jobs(trainee.config) as jobs:
        said = await give_up(trainee.work, jobs, begun)
        assert "is succeeded" in said
        never = begun.model_copy(update={"tag": "another", "job_id": None, "file_id": None})
        assert await give_up(trainee.work, jobs, never) == "no job was made"
        gone = begun.model_copy(update={"job_id": "ftjob-none"})
        assert "knows no job ftjob-none" in await give_up(trainee.work, jobs, gone)


def test_a_damaged_record_is_not_taken_for_none(tmp_path: Path) -> None:
    assert read_job(tmp_path) is None
    (tmp_path / JOB).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="whether a job was made cannot be told"):
        read_job(tmp_path)
