"""`gate.length`: characters, words and tokens within limits.

Tokens are counted by a tokenizer file of yours (`tokenizer.json`, for the library `tokenizers`), or
estimated as a quarter of the UTF-8 bytes, rounded up: a fifth too high for English prose, a fifth
too low for code (docs/curation/gates.md has the figures).
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, model_validator

from synthkd.curate.fields import text_of
from synthkd.errors import Rejected, RowError, UserError
from synthkd.io.paths import find_file
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES_PER_TOKEN = 4
"""UTF-8 bytes of prose in one token, roughly; the forecast counts with the same."""


class LengthConfig(StepSettings):
    """How long a text must be. A limit that is not set does not limit."""

    field: str
    """The field with the text that is looked at."""
    min_chars: NonNegativeInt | None = None
    """Characters as Python counts them: Unicode code points, without white space at the ends."""
    max_chars: NonNegativeInt | None = None
    min_words: NonNegativeInt | None = None
    """Words are what white space separates."""
    max_words: NonNegativeInt | None = None
    min_tokens: NonNegativeInt | None = None
    """Tokens of `tokenizer`; without one, UTF-8 bytes / 4, rounded up."""
    max_tokens: NonNegativeInt | None = None
    tokenizer: str | None = None
    """A tokenizer.json on this machine, looked for beside the pipeline file too; nothing is
    downloaded. Needs the extra `tokens`."""

    @model_validator(mode="after")
    def _limits(self) -> LengthConfig:
        ranges = {
            "chars": (self.min_chars, self.max_chars),
            "words": (self.min_words, self.max_words),
            "tokens": (self.min_tokens, self.max_tokens),
        }
        if all(limit is None for pair in ranges.values() for limit in pair):
            names = ", ".join(f"{end}_{unit}" for unit in ranges for end in ("min", "max"))
            raise ValueError(f"must set at least one of {names}")
        for unit, (least, most) in ranges.items():
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{unit} {least} must not be above max_{unit} {most}")
        return self

    @model_validator(mode="after")
    def _tokenizer_is_there(self) -> LengthConfig:
        if self.tokenizer is None:
            return self
        if not self.counts_tokens:
            raise ValueError("tokenizer is for min_tokens and max_tokens: set one of them")
        if importlib.util.find_spec("tokenizers") is None:
            raise ValueError("tokenizer needs the extra: pip install 'synthkd[tokens]'")
        return self

    def faults(self, folder: Path) -> Iterable[str]:
        """See `StepSettings.faults`."""
        if self.tokenizer is not None:
            try:
                _loaded(find_file(self.tokenizer, folder))
            except UserError as error:
                yield f"tokenizer: {error}"

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are limited at all: counting them takes the longest."""
        return self.min_tokens is not None or self.max_tokens is not None


@step("gate.length", needs=lambda config: [config.field])
async def length(row: Row, kit: Kit, config: LengthConfig, /) -> AsyncIterator[Row]:
    """Rejects texts that are `too_short` or `too_long`, in characters, words or tokens."""
    text = text_of(row, config.field)
    measured = [
        ("chars", len(text.strip()), config.min_chars, config.max_chars),
        ("words", len(text.split()), config.min_words, config.max_words),
    ]
    if config.counts_tokens:
        path = config.tokenizer and find_file(config.tokenizer, kit.desk.folder)
        tokens = tokens_of(text, path or None)
        measured.append(("tokens", tokens, config.min_tokens, config.max_tokens))
    for unit, found, least, most in measured:
        if least is not None and found < least:
            raise Rejected("too_short", f"{config.field} has {found} {unit}, min_{unit} is {least}")
        if most is not None and found > most:
            raise Rejected("too_long", f"{config.field} has {found} {unit}, max_{unit} is {most}")
    yield row


def tokens_of(text: str, tokenizer: Path | None) -> int:
    """How many tokens the text has; without a tokenizer, the estimate.

    Raises:
        UserError: the file is no tokenizer.
        RowError: it has no token for something in the text, and none for what it does not know.
    """
    whole = text.encode(errors="replace")
    if tokenizer is None:
        return -(-len(whole) // BYTES_PER_TOKEN)
    read = _loaded(tokenizer)
    try:
        return len(read.encode(whole.decode(), add_special_tokens=False).ids)
    except Exception as error:  # the library raises nothing narrower
        raise RowError(f"{tokenizer.name} cannot read this text: {error}") from error


@lru_cache(maxsize=4)
def _loaded(path: Path) -> Tokenizer:
    """Read once: it takes a second for a large vocabulary."""
    from tokenizers import Tokenizer

    try:
        read = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is no tokenizer.json: {error}") from error
    # A file may say that texts are cut or filled up; here every token counts.
    read.no_truncation()
    read.no_padding()
    return read
