"""The fine-tuning API behind its HTTP: jobs, their events, and the models that they make.

Nothing runs in the background: a job's whole course is laid down when it is made, and whoever looks
sees as much of it as the clock has passed.

    validating_files -> queued -> running -> succeeded
          failed                  failed
        cancelled  <-  any that has not ended

A model that was made answers as the training example with the most words in common with the last
message: little, but learnt from the file.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from synthkd.errors import UserError
from synthkd.fake_teacher.batches import File
from synthkd.fake_teacher.chat import Body, prompt_tokens
from synthkd.fake_teacher.faults import Refusal

JOB_FAULTS: Mapping[str, str] = {
    "blocked": "its file does not pass the moderation",
    "failed": "it fails in the middle of its training",
    "vanished": "nobody knows it, once it was made",
}

VALIDATED, STARTED, TRAINED = 0.1, 0.2, 0.9
"""Shares of a job's time at which its file is validated, its training begins and is over."""

STEPS = 10
"""Steps of training that are told, whatever the file holds."""

FEWEST_EXAMPLES = 10
BILLED = {"succeeded", "cancelled"}
ENDED = BILLED | {"failed"}
MOST_METADATA, LONGEST_SUFFIX = 16, 64
INVALID = "The job failed due to an invalid training file. "
BLOCKED = (
    "invalid_training_file",
    f"{INVALID}This training file was blocked by our moderation system.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happens to a job, and is told as an event."""

    at: float
    """Share of the job's time."""
    message: str
    status: str | None = None
    """What the job becomes; None = what it is."""
    error: tuple[str, str] | None = None
    """Code and message of what the job fails by."""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Job:
    """One job; times are seconds since 1970."""

    id: str
    asked: Mapping[str, Any]
    """The call that made it."""
    created_s: float
    tokens: int
    """Of the file, once."""
    examples: list[tuple[frozenset[str], str]]
    """Words of the last message before an answer, and the answer."""
    course: list[Moment]
    passed: float = 0.0
    """The share of its time that was over when it was last looked at."""
    ended_s: float | None = None

    @property
    def seen(self) -> list[Moment]:
        """What has happened by now."""
        return [moment for moment in self.course if moment.at <= self.passed]

    @property
    def status(self) -> str:
        """What it has become by now."""
        return next(m.status for m in reversed(self.seen) if m.status is not None)

    @property
    def epochs(self) -> int:
        """Passes over the file; `auto` is 3."""
        wanted = hyperparameters(self.asked).get("n_epochs", "auto")
        return 3 if wanted == "auto" else int(wanted)

    @property
    def trained_tokens(self) -> int:
        """What is billed by now: a job that is cancelled as far as it came, one that fails not."""
        if self.status == "failed":
            return 0
        share = (self.passed - STARTED) / (TRAINED - STARTED)
        return int(self.tokens * self.epochs * max(0.0, min(1.0, share)))

    @property
    def model(self) -> str:
        """What its model is called."""
        suffix = self.asked.get("suffix") or ""
        return f"ft:{self.asked['model']}:fake:{suffix}:{self.id[-8:]}"

    def answer(self, body: Body) -> str:
        """What its model answers."""
        words = _words(_text(body["messages"][-1].get("content")))
        nearest = max(self.examples, key=lambda example: _alike(words, example[0]))
        return nearest[1]

    @property
    def as_json(self) -> dict[str, Any]:
        """What the API tells of it."""
        status = self.status
        error = next((m.error for m in self.seen if m.error is not None), None)
        set_to = {
            "n_epochs": self.epochs,
            "batch_size": 1,
            "learning_rate_multiplier": 1.8,
        }
        given = {n: v for n, v in hyperparameters(self.asked).items() if v != "auto"}
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": int(self.created_s),
            "finished_at": None if self.ended_s is None else int(self.ended_s),
            "estimated_finish": None,
            "status": status,
            "model": self.asked["model"],
            "fine_tuned_model": self.model if status == "succeeded" else None,
            "organization_id": "org-fake",
            "training_file": self.asked["training_file"],
            "validation_file": self.asked.get("validation_file"),
            "result_files": [],
            "seed": self.asked.get("seed") or 0,
            "trained_tokens": self.trained_tokens if status in BILLED else None,
            "hyperparameters": {**set_to, **given},
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {**set_to, **given}},
            },
            "metadata": self.asked.get("metadata"),
            "user_provided_suffix": self.asked.get("suffix"),
            "integrations": [],
            "error": {
                "code": error[0],
                "message": error[1],
                "param": "training_file" if "file" in error[1] else None,
            }
            if error is not None
            else {},  # so OpenAI has it where nothing went wrong
        }

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the API tells of its course, newest first."""
        told = [
            {
                "id": f"ftevent-{self.id[-12:]}-{number}",
                "object": "fine_tuning.job.event",
                "created_at": int(self.created_s),
                "level": "info" if moment.error is None else "error",
                "message": moment.message,
                "type": "metrics" if moment.metrics else "message",
                "data": dict(moment.metrics),
            }
            for number, moment in enumerate(self.seen)
        ]
        return told[::-1]


class FineTuning:
    """All jobs of a provider.

    Args:
        files: what was uploaded, by id.
        models: those that can be fine-tuned; () = any.
        delay_s: seconds from the start of a job to its end; 0 = it is over when first looked at.
        script: faults of the next jobs in order, None = it goes well.
        wall_clock: seconds since 1970.

    Raises:
        UserError: a fault that does not exist.
    """

    def __init__(
        self,
        files: Mapping[str, File],
        models: Iterable[str],
        *,
        delay_s: float,
        script: Iterable[str | None],
        wall_clock: Callable[[], float],
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self.script = deque(script)
        for fault in filter(None, self.script):
            if fault not in JOB_FAULTS:
                raise UserError(f"no fault of a job {fault!r}; there are {' '.join(JOB_FAULTS)}")
        self._files = files
        self._models = frozenset(models)
        self._delay_s = delay_s
        self._now = wall_clock
        self._vanished: set[str] = set()

    @property
    def trained_tokens(self) -> int:
        """What is billed by now, of all jobs."""
        return sum(self._advanced(job).trained_tokens for job in self.jobs.values())

    def create(self, asked: Mapping[str, Any]) -> Job:
        """Start a job.

        Raises:
            Refusal: 400, what is asked makes no job.
        """
        file = self._checked(asked)
        fault = self.script.popleft() if self.script else None
        number = f"{len(self.jobs)} {file.id}".encode()
        identity = f"ftjob-{hashlib.sha256(number).hexdigest()[:24]}"
        problem = BLOCKED if fault == "blocked" else problem_of(file.content)
        examples = [] if problem else _examples(file.content)
        job = Job(
            id=identity,
            asked=asked,
            created_s=self._now(),
            tokens=0 if problem else _tokens(file.content),
            examples=examples,
            course=[],
        )
        job.course = _course(job, problem, fault)
        self.jobs[identity] = job
        if fault == "vanished":
            self._vanished.add(identity)
        return job

    def look(self, identity: str) -> Job:
        """The job as it is by now.

        Raises:
            Refusal: 404, there is none.
        """
        job = self.jobs.get(identity)
        if job is None or identity in self._vanished:
            raise Refusal(404, f"Could not find fine tune: {identity}", "fine_tune_not_found")
        return self._advanced(job)

    def listed(self) -> list[Job]:
        """All jobs that are known, newest first."""
        known = [name for name in self.jobs if name not in self._vanished]
        return [self.look(identity) for identity in reversed(known)]

    def cancel(self, identity: str) -> Job:
        """Stop a job.

        Raises:
            Refusal: 404, there is none; 400, it has ended.
        """
        job = self.look(identity)
        if job.status in ENDED:
            message = f"Job has already completed, status: {job.status}"
            raise Refusal(400, message, "fine_tuning_job_already_completed")
        end = Moment(at=job.passed, message="Fine-tuning job cancelled", status="cancelled")
        job.course = [*job.seen, end]
        job.ended_s = self._now()
        return job

    def voice_of(self, model: str) -> Callable[[Body], str] | None:
        """How a model that a job has made answers; None = no job has made it."""
        for job in self.jobs.values():
            if job.model == model and self._advanced(job).status == "succeeded":
                return job.answer
        return None

    def _advanced(self, job: Job) -> Job:
        if job.ended_s is None:
            passed = (self._now() - job.created_s) / self._delay_s if self._delay_s else 1.0
            job.passed = min(passed, 1.0)
            if job.status in ENDED:
                job.ended_s = self._now()
                job.passed = job.seen[-1].at
        return job

    def _checked(self, asked: Mapping[str, Any]) -> File:
        """The training file."""
        model = asked.get("model")
        if not isinstance(model, str) or (self._models and model not in self._models):
            message = f"Model {model} is not available for fine-tuning or does not exist."
            raise Refusal(400, message, "model_not_available")
        file = self._files.get(str(asked.get("training_file")))
        if file is None or file.purpose != "fine-tune":
            raise Refusal(400, "'training_file' must name a file of purpose 'fine-tune'")
        suffix, metadata = asked.get("suffix") or "", asked.get("metadata") or {}
        if not isinstance(suffix, str) or len(suffix) > LONGEST_SUFFIX:
            raise Refusal(400, f"'suffix' must be text of at most {LONGEST_SUFFIX} characters")
        if not isinstance(metadata, dict) or len(metadata) > MOST_METADATA:
            raise Refusal(400, f"'metadata' must be at most {MOST_METADATA} pairs")
        epochs = hyperparameters(asked).get("n_epochs", "auto")
        if epochs != "auto" and not (type(epochs) is int and 1 <= epochs <= 50):
            raise Refusal(400, f"'n_epochs' must be within 1 and 50, got {epochs!r}")
        return file


def hyperparameters(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where they stand today, or where they stood before there was a `method`."""
    method = asked.get("method") or {}
    found = method.get("supervised", {}).get("hyperparameters") or asked.get("hyperparameters")
    return found or {}


def _course(job: Job, problem: tuple[str, str] | None, fault: str | None) -> list[Moment]:
    """What will happen to a job."""
    course = [
        Moment(at=0.0, message=f"Created fine-tuning job: {job.id}", status="validating_files"),
        Moment(at=0.0, message=f"Validating training file: {job.asked['training_file']}"),
    ]
    if problem is not None:
        failed = Moment(at=VALIDATED, message=problem[1], status="failed", error=problem)
        return [*course, failed]
    course.append(Moment(at=VALIDATED, message="Files validated, queued", status="queued"))
    course.append(Moment(at=STARTED, message="Fine-tuning job started", status="running"))
    for step in range(1, STEPS + 1):
        at = STARTED + (TRAINED - STARTED) * step / STEPS
        if fault == "failed" and step > STEPS // 2:
            why = "The job failed due to an internal error."
            failed = Moment(at=at, message=why, status="failed", error=("server_error", why))
            return [*course, failed]
        loss = round(2.5 * math.exp(-step / 3), 2)
        message = f"Step {step}/{STEPS}: training loss={loss}"
        metrics = {"step": step, "total_steps": STEPS, "train_loss": loss}
        course.append(Moment(at=at, message=message, metrics=metrics))
    course.append(Moment(at=1.0, message=f"New fine-tuned model created: {job.model}"))
    done = "The job has successfully completed"
    return [*course, Moment(at=1.0, message=done, status="succeeded")]


def problem_of(content: bytes) -> tuple[str, str] | None:
    """What the provider finds wrong with a training file: the first fault, with its code."""
    examples = 0
    for number, raw in enumerate(content.splitlines(), start=1):
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return _invalid(f"Line {number} is not valid JSON")
        messages = line.get("messages") if isinstance(line, dict) else None
        if not isinstance(messages, list) or not messages:
            return _invalid("Unexpected file format, expected chat messages")
        for place, message in enumerate(messages, start=1):
            fault = _fault_in(message)
            if fault is not None:
                return _invalid(f"Example {number}, message {place} {fault}")
        if messages[-1]["role"] != "assistant":
            return _invalid(f"Example {number}, last message must be from the assistant")
        examples += 1
    if examples < FEWEST_EXAMPLES:
        least = f"must have at least {FEWEST_EXAMPLES} examples"
        return "invalid_n_examples", f"Training file has {examples} example(s), but {least}"
    return None


def _fault_in(message: object) -> str | None:
    if not isinstance(message, dict) or "role" not in message:
        return "Discriminator 'role' is missing in value"
    if message["role"] not in {"system", "developer", "user", "assistant", "tool"}:
        return f"has an unknown role {message['role']!r}"
    if not message.get("content"):
        return "has no content"
    if message.get("weight", 0) not in {0, 1}:
        return "Input should be 0 or 1 for 'weight'"
    return None


def _invalid(why: str) -> tuple[str, str]:
    return "invalid_training_file", f"{INVALID}Invalid file format. {why}"


def _tokens(content: bytes) -> int:
    return sum(prompt_tokens(orjson.loads(raw)["messages"]) for raw in content.splitlines())


def _examples(content: bytes) -> list[tuple[frozenset[str], str]]:
    examples = []
    for raw in content.splitlines():
        messages = orjson.loads(raw)["messages"]
        before = messages[-2]["content"] if len(messages) > 1 else ""
        examples.append((_words(_text(before)), _text(messages[-1]["content"])))
    return examples


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
