"""The blocks of a teacher that answers in this process: a trained student."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from synthkd.config.settings import Seed, Settings

StopText = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class LocalConfig(Settings):
    """A student, or any causal model in a folder, that answers in this process."""

    folder: str | None = None
    """What training wrote (`DIR/student`), or a model in Hugging Face's layout; beside `round` who
    answers in round 0."""
    round: Literal["previous"] | None = None
    """`previous`: the student that this run trained in the round before."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Questions that are answered together; more take more memory."""

    @model_validator(mode="after")
    def _somebody(self) -> LocalConfig:
        if self.folder is None and self.round is None:
            raise ValueError("needs `folder`, or `round: previous` for the student of a round")
        return self


class SamplingConfig(Settings):
    """The sampling parameters that it understands, named as OpenAI's API names them."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """0 = always the likeliest token."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only the likeliest tokens that together have this probability."""
    seed: Seed | None = None
    """Another seed, another answer; without one it is the same answer in every run too."""
    stop: StopText | list[StopText] = []
    """The answer ends before the first of these."""
