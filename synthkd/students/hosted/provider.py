"""The fine-tuning API of a provider, through the openai SDK.

Making a job is never tried twice here, because a reply that is lost may belong to a job that was
made; whoever called looks for it by its tag.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthkd.config import HostedConfig
from synthkd.teachers.sdk import AbsentError, Sdk, identity, open_sdk, told

API = "fine-tuning API"
LACKS = "Name a provider that has one in `student.endpoint`"
JOBS = "/fine_tuning/jobs"
TAG = "synthkd"
"""Under this name our tag is in a job's metadata."""
SUFFIX = "synthkd"
"""Becomes part of the model's name."""
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job, as the provider tells of it; not every provider tells all."""

    id: str
    status: str
    model: str | None = None
    """What it made."""
    trained_tokens: int | None = None
    """What is billed."""
    fault: str = ""
    """Why it failed, as the provider says it."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED


class JobProvider:
    """Files, jobs and models at one endpoint."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    @property
    def label(self) -> str:
        """Names the endpoint in messages."""
        return self._sdk.label

    async def upload(self, path: Path, name: str) -> str:
        """Send a training file; the provider's name of it.

        Raises:
            RequestRefused, TeacherRefused, AttemptFailed: see `Sdk.upload`.
        """
        with path.open("rb") as content:
            file = (name, content, "application/jsonl")
            return await self._sdk.upload(file, "fine-tune", lacks=LACKS)

    async def create(self, file_id: str, config: HostedConfig, tag: str) -> JobStatus:
        """Start a job on an uploaded file.

        Raises:
            RequestRefused: the provider makes no job of this.
            TeacherRefused: it has no jobs, or takes nothing from us.
            AttemptFailed: it may have been made, or not.
        """
        wanted = {
            "n_epochs": config.epochs,
            "batch_size": config.batch_size,
            "learning_rate_multiplier": config.learning_rate_multiplier,
        }
        settings = {name: value for name, value in wanted.items() if value is not None}
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": settings}}
        with self._sdk.explained(JOBS, lacks=LACKS):
            made = await self._sdk.once.fine_tuning.jobs.with_raw_response.create(
                model=config.base,
                training_file=file_id,
                method=method,
                seed=config.seed,
                suffix=SUFFIX,
                metadata={TAG: tag},
                extra_headers={"Idempotency-Key": tag, **self._sdk.headers},
            )
            return self._status(told(made.content))

    async def search(self, tag: str, file_id: str | None) -> list[JobStatus]:
        """The jobs that were made with this tag or of this file, newest first.

        Raises:
            TeacherRefused, AttemptFailed: the provider does not say.
        """
        ask = self._sdk.client.fine_tuning.jobs.with_raw_response.list
        found = []
        with self._sdk.explained(JOBS, lacks=LACKS):
            # A provider that knows no such filter lists all.
            async for job in self._sdk.listed("jobs", ask, metadata={TAG: tag}):
                metadata = job.get("metadata")
                tagged = isinstance(metadata, dict) and metadata.get(TAG) == tag
                if tagged or (file_id is not None and job.get("training_file") == file_id):
                    found.append(self._status(job))
        return found

    async def look(self, job_id: str) -> JobStatus | None:
        """How a job stands; None = the provider knows none of that name."""
        return await self._asked(job_id, "retrieve")

    async def cancel(self, job_id: str) -> JobStatus | None:
        """Stop a job; None = the provider knows none of that name.

        Raises:
            RequestRefused: it is over.
        """
        return await self._asked(job_id, "cancel")

    async def news(self, job_id: str, after: str | None) -> list[tuple[str, str]]:
        """The events after that one, oldest first: id and message."""
        jobs = self._sdk.client.fine_tuning.jobs.with_raw_response

        async def ask(**wanted: Any) -> Any:
            return await jobs.list_events(job_id, **wanted)

        found = []
        try:
            with self._sdk.explained(f"{JOBS}/events", absent=True):
                async for event in self._sdk.listed("events", ask):
                    name = identity(event)
                    if name == after:
                        break
                    found.append((name, self._sdk.refusals.quoted(str(event.get("message")))))
        except AbsentError:
            return []  # a provider without events
        return found[::-1]

    async def has_model(self, model: str) -> bool:
        """Whether a model that was made is there still."""
        try:
            with self._sdk.explained("/models", absent=True):
                ask = self._sdk.client.models.with_raw_response
                await ask.retrieve(model, extra_headers=self._sdk.headers)
        except AbsentError:
            return False
        return True

    async def _asked(self, job_id: str, what: str) -> JobStatus | None:
        ask = getattr(self._sdk.client.fine_tuning.jobs.with_raw_response, what)
        try:
            with self._sdk.explained(JOBS, absent=True):
                reply = await ask(job_id, extra_headers=self._sdk.headers)
                return self._status(told(reply.content))
        except AbsentError:
            return None

    def _status(self, job: Mapping[str, Any]) -> JobStatus:
        error, model, tokens = (
            job.get("error"),
            job.get("fine_tuned_model"),
            job.get("trained_tokens"),
        )
        fault = ""
        if isinstance(error, dict) and error:
            said = [error.get(name) for name in ("code", "message")]
            fault = self._sdk.refusals.quoted(": ".join(str(each) for each in said if each))
        settings = job.get("hyperparameters")
        return JobStatus(
            id=identity(job),
            status=str(job.get("status") or ""),
            model=model if isinstance(model, str) and model else None,
            trained_tokens=tokens if type(tokens) is int and tokens >= 0 else None,
            fault=fault,
            hyperparameters=settings if isinstance(settings, dict) else {},
        )


@asynccontextmanager
async def open_jobs(config: HostedConfig) -> AsyncIterator[JobProvider]:
    """Open the SDK's client for a student's endpoint.

    Raises:
        UserError: an API key that is missing or malformed.
    """
    async with open_sdk("student", config.asked_as(config.base), API) as sdk:
        yield JobProvider(sdk)
