"""The blocks of a teacher that answers in this process: a trained student."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from synthkd.config.settings import Seed, Settings

StopText = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class LocalConfig(Settings):
    """A student, or any causal model in a folder, that answers in this process."""

    folder: str
    """What training wrote (`DIR/student`), or a model in Hugging Face's layout."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Questions that are answered together; more take more memory."""


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
