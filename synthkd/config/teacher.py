"""The block of one teacher: who answers, how it is reached, how fast, at what price."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    StringConstraints,
    model_validator,
)

from synthkd.config.local import LocalConfig, SamplingConfig
from synthkd.config.settings import Count, InFlight, Name, Seed, Settings, Share
from synthkd.config.vllm import BASE, VllmConfig
from synthkd.rows import MAX_DEPTH, Json, clean

SECRET_HEADERS = re.compile(
    "key|token(?!s)|secret|auth|password|signature|^sig$|cookie|credential", re.IGNORECASE
)
"""Names of headers and of query parameters that hold secrets; `max-tokens` is none."""

SET_BY_SYNTHKD = {
    "model": "remove it",
    "messages": "remove it",
    "prompt": "remove it",
    "input": "remove it",
    "n": "use `samples` of a step, which keeps each answer under a key of its own",
    "stream": "use `stream` of the teacher",
    "stream_options": "remove it",
}
"""Parameters that may not stand in `params`, and what to do instead."""

GUIDED = re.compile("guided_")
"""How vLLM named its constraints before 0.12; since then it ignores those names without a word."""

OF_ENDPOINTS = ("served_by", "api_key_env", "api_key_header", "headers")
"""Settings that say who a foreign server is; of its own servers synthkd knows it."""


def _plain_json(params: dict[Any, Any]) -> dict[str, Json]:
    """What goes over the wire: YAML also has numbers as names (`logit_bias`), dates and `.nan`."""
    plain = clean(_text_names(params, MAX_DEPTH))
    assert isinstance(plain, dict)  # noqa: S101  it was one
    return plain


def _text_names(value: Any, levels: int) -> Any:
    if isinstance(value, dict) and levels:
        named = {
            str(name) if type(name) is int else name: _text_names(item, levels - 1)
            for name, item in value.items()
        }
        if len(named) < len(value):
            raise ValueError(f"a name stands twice, as a number and as text: {list(value)!r:.200}")
        return named
    if isinstance(value, list) and levels:
        return [_text_names(item, levels - 1) for item in value]
    return value


class Price(Settings):
    """US dollars per million tokens."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat
    """Reasoning is part of the completion."""
    cached_prompt: NonNegativeFloat | None = None
    """Of prompt tokens that the provider had cached; None = unknown, so they count as the others
    do."""
    batch_discount: Share | None = None
    """The share that batch mode takes off; None = unknown, so none is counted on."""

    @model_validator(mode="after")
    def _full_price_is_the_worst(self) -> Price:
        # The budget holds each attempt at the full price.
        if self.cached_prompt is not None and self.cached_prompt > self.prompt:
            raise ValueError(
                f"cached_prompt must be <= prompt ({self.prompt:g}), got {self.cached_prompt:g}"
            )
        return self


class RecordedConfig(Settings):
    """Answers from a file of recorded completions."""

    parquet: str | None = None
    jsonl: str | None = None
    match: str | list[str]
    """The prompt inputs, of the same names as the file's columns, that find the answer."""
    text: str
    """The column with the teacher's raw text."""
    where: dict[str, str | int | float | bool] = {}
    """Only the file's rows with these values."""

    @model_validator(mode="after")
    def _one_file(self) -> RecordedConfig:
        if (self.parquet is None) == (self.jsonl is None):
            raise ValueError("must name exactly one of parquet, jsonl")
        return self


class PoolConfig(Settings):
    """The examples of the simulated world `pool`."""

    parquet: str | None = None
    jsonl: str | None = None
    text: str
    """The column with the text."""
    label: str | None = None
    """The column with its label; none where whole lists are asked for, and no class."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Leave out the first so many rows, where a pipeline reads those."""

    @model_validator(mode="after")
    def _one_file(self) -> PoolConfig:
        if (self.parquet is None) == (self.jsonl is None):
            raise ValueError("must name exactly one of parquet, jsonl")
        return self


class SimulatedConfig(Settings):
    """A teacher that really does a small world, with faults on purpose. Always called simulated."""

    world: Name
    """One of the worlds in synthkd/teachers/simulated: tickets, arithmetic, pool."""
    pool: PoolConfig | None = None
    """Of the world `pool`: where its examples are."""
    seed: Seed = 0
    error_rate: Share = 0.0
    """Share of answers that are wrong but well-formed."""
    run_on_rate: Share = 0.0
    """Share of answers that go on into an invented next question."""
    refusal_rate: Share = 0.0
    malformed_rate: Share = 0.0
    """Share of replies without a parsable answer."""
    rate_limit_rate: Share = 0.0
    """Share of requests whose first attempt gets a 429."""
    latency_s: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _pool_of_the_pool(self) -> SimulatedConfig:
        if (self.world == "pool") != (self.pool is not None):
            raise ValueError(
                "the world `pool` needs the block `pool`, and no other world has one: name its file"
            )
        return self


class BatchConfig(Settings):
    """The provider's limits for batches; the defaults are those that OpenAI documents."""

    max_requests: Count = 50_000
    """Requests in one file."""
    max_file_mb: PositiveFloat = 200.0
    """Megabytes (10^6 bytes) of one file."""
    max_enqueued_tokens: Count | None = None
    """Prompt tokens, estimated, that may be under way at once; None = the provider says when it is
    too much."""
    window: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[hd]$")] = "24h"
    """How long the provider may take; most take nothing but 24h."""
    poll_s: PositiveFloat = 60.0
    """Seconds between two looks at a batch with --wait."""


class TeacherConfig(Settings):
    """A teacher: an endpoint and a model, or `vllm`, `student`, `recorded`, `simulated`."""

    endpoint: str | list[str] | None = None
    """Base URL of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1."""
    model: str | None = None
    served_by: str | None = None
    """Who answers, for the ledger; by default the endpoint."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; a local server needs none."""
    api_key_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")] = "Authorization"
    """Where the key goes: as `Bearer KEY` in `Authorization`, by itself in any other (Azure's
    `api-key`)."""
    headers: dict[str, str] = {}
    """Extra headers; part of who answers."""
    vllm: VllmConfig | None = None
    """A vLLM server that the run starts and stops; `model` may name one of its adapters."""
    student: LocalConfig | None = None
    """A trained student, asked in this process."""
    recorded: RecordedConfig | None = None
    simulated: SimulatedConfig | None = None
    concurrency: Literal["auto"] | InFlight = "auto"
    """Requests in the air at once; `auto` finds out what the server takes, up to 1,024."""
    requests_per_minute: PositiveFloat | None = None
    """No minute has more; None = as many as the provider's headers allow."""
    tokens_per_minute: PositiveFloat | None = None
    """Prompt and completion together, estimated first and put right with the usage."""
    mode: Literal["online", "batch"] = "online"
    """`batch` sends questions through the provider's Batch API: cheaper, within a day."""
    batch: BatchConfig = BatchConfig()
    """The provider's limits for `mode: batch`."""
    timeout_s: PositiveFloat = 120.0
    """Seconds for one attempt, from connecting to the last byte; a streamed one has others."""
    stream: bool | Literal["auto"] = "auto"
    """Whether answers come in pieces, so that a long one is not taken for a stalled one; `auto` =
    where `max_tokens` is above 4,096."""
    connect_timeout_s: PositiveFloat = 30.0
    """Seconds to take a connection: a server that takes none in this time is down."""
    first_token_timeout_s: PositiveFloat = 600.0
    """Seconds to the first piece of a streamed answer: it may queue, and think out of sight."""
    idle_timeout_s: PositiveFloat = 60.0
    """Seconds between two pieces of a streamed answer."""
    max_attempts: Count = 6
    """Tries per request, the first included; what passes by itself usually does within a minute."""
    patience_s: PositiveFloat | None = None
    """Seconds for which the teacher may do nothing but fail before the run stops; by default 180,
    so that a server can be started again, and 15 where it has never taken a connection."""
    price: Price | None = None
    """Overrides the price list; needed for `budget.usd` where the list does not know the model."""
    params: Annotated[dict[Any, Any], AfterValidator(_plain_json)] = {}
    """Sampling parameters as the API names them: temperature, max_tokens, seed, ..."""

    @property
    def length_param(self) -> str:
        """What the provider calls the longest answer."""
        newer = "max_completion_tokens"
        return newer if newer in self.params else "max_tokens"

    @property
    def max_tokens(self) -> Any:
        """The longest answer, in tokens, as the file has it; None leaves it to the provider."""
        return self.params.get(self.length_param)

    @property
    def sampling(self) -> dict[str, Json]:
        """The parameters without the longest answer, which is no part of the question."""
        return {name: value for name, value in self.params.items() if name != self.length_param}

    @property
    def kind(self) -> Literal["http", "vllm", "student", "recorded", "simulated"]:
        """Which implementation answers."""
        if self.recorded is not None:
            return "recorded"
        if self.vllm is not None:
            return "vllm"
        if self.student is not None:
            return "student"
        return "simulated" if self.simulated is not None else "http"

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        kinds = ("endpoint", "vllm", "student", "recorded", "simulated")
        has = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(has) != 1:
            found = ", ".join(has) or "none of them"
            raise ValueError(f"must have exactly one of {', '.join(kinds)}; has {found}")
        if self.endpoint is not None and self.model is None:
            raise ValueError("needs `model` beside `endpoint`")
        if self.mode == "batch" and not isinstance(self.endpoint, str):
            raise ValueError("`mode: batch` needs one endpoint: the Batch API of one provider")
        for name, instead in SET_BY_SYNTHKD.items():
            if name in self.params:
                raise ValueError(f"params.{name} is set by synthkd: {instead}")
        if {"max_tokens", "max_completion_tokens"} <= self.params.keys():
            raise ValueError("params has max_tokens and max_completion_tokens: keep one of them")
        return self

    @model_validator(mode="after")
    def _of_vllm(self) -> TeacherConfig:
        if self.kind in {"http", "vllm"}:
            for name in self.params:
                if GUIDED.match(name):
                    raise ValueError(
                        f"params.{name} is an old name that vLLM ignores without a word: use"
                        " `structured_outputs`, such as structured_outputs: {choice: [yes, no]}"
                    )
        if self.vllm is None:
            return self
        self._refuse(OF_ENDPOINTS, "vllm")
        if BASE in self.vllm.lora:
            raise ValueError(f"vllm.lora: an adapter may not be called {BASE}, as the model is")
        if self.model not in {None, BASE, *self.vllm.lora}:
            names = ", ".join([BASE, *self.vllm.lora])
            raise ValueError(
                f"model must name what `vllm` serves: one of {names}; got {self.model!r:.100}"
            )
        return self

    @model_validator(mode="after")
    def _of_student(self) -> TeacherConfig:
        if self.student is None:
            return self
        self._refuse(("model", *OF_ENDPOINTS), "student")
        known = SamplingConfig.model_fields
        if strange := [name for name in self.sampling if name not in known]:
            raise ValueError(
                f"params.{strange[0]} is unknown to a student, which takes max_tokens,"
                f" {', '.join(known)}; a server of it takes more: `vllm: {{model: FOLDER}}`"
            )
        SamplingConfig.model_validate(self.sampling)
        return self

    def _refuse(self, settings: Sequence[str], block: str) -> None:
        # By value, not by what was written: a manifest has every default filled in.
        fields = type(self).model_fields
        if given := [n for n in settings if getattr(self, n) != fields[n].get_default()]:
            raise ValueError(
                f"{given[0]} belongs to an `endpoint`; with `{block}` synthkd knows it"
            )

    @property
    def asked_model(self) -> str:
        """What a request calls the model."""
        return self.model or (BASE if self.vllm is not None else self.kind)

    @model_validator(mode="after")
    def _no_secrets(self) -> TeacherConfig:
        # This block ends in the manifest and in the ledger's key: no secret may be in it.
        urls = [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint or []
        queries = [parse_qsl(url.partition("?")[2], keep_blank_values=True) for url in urls]
        places = [(f"headers.{header}", header) for header in self.headers]
        places += [(f"{name!r} in endpoint", name) for query in queries for name, _ in query]
        for place, name in places:
            if SECRET_HEADERS.search(name):
                raise ValueError(
                    f"{place} would put a secret into this file, the manifest and the ledger: name"
                    " an environment variable in `api_key_env` (and `api_key_header`, if it goes"
                    " into another one than Authorization)"
                )
        return self
