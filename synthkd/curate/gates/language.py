"""`gate.language`: only texts in the languages that are wanted.

Identification is py3langid's: naive Bayes over byte n-grams (Lui and Baldwin, "langid.py", ACL 2012
demonstrations), with its model in the package. A text is rejected when the model is sure that it is
in none of the wanted languages; what is too short to tell passes. So a gate for English lets a
French "Oui" through, and does not throw out "OK".
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field, NonNegativeInt, model_validator

from synthkd.config import Share
from synthkd.curate.fields import text_of
from synthkd.errors import Rejected
from synthkd.hints import near
from synthkd.recipes.languages import (
    LANGUAGES,
    NO_LANGUAGE,
    is_installed,
    letters_of,
    probabilities,
    prose_of,
)
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step


class LanguageConfig(StepSettings):
    """Which languages a text may be in."""

    field: str
    """The field with the text that is looked at."""
    languages: list[str] = Field(min_length=1)
    """ISO 639-1 codes such as [en, de]; a text in any of them passes."""
    sure: Share = 0.99
    """How probable it must be that the text is in none of them. Lower throws out more texts that
    are in a wanted language after all: names, lists, code."""
    min_letters: NonNegativeInt = 10
    """Shorter texts pass, because nobody can tell. Letters are counted in UTF-8 bytes: a Chinese
    character counts 3, as it says more."""

    @model_validator(mode="after")
    def _known(self) -> LanguageConfig:
        for code in self.languages:
            if code not in LANGUAGES:
                hint = near(code, LANGUAGES)
                raise ValueError(f"languages: {code!r} is no ISO 639 code that is known{hint}")
        if not is_installed():
            raise ValueError("gate.language needs the extra: pip install 'synthkd[language]'")
        return self


@step("gate.language", needs=lambda config: [config.field])
async def language(row: Row, kit: Kit, config: LanguageConfig, /) -> AsyncIterator[Row]:
    """Rejects texts that are surely in none of the wanted languages (`other_language`).

    Code in fences is not read, and of the rest the first 4,000 characters.
    """
    if (found := is_other(text_of(row, config.field), config)) is not None:
        raise Rejected("other_language", f"{config.field} is {found}")
    yield row


def is_other(text: str, config: LanguageConfig) -> str | None:
    """What the text is instead of a wanted language; None = it may be in one."""
    text = prose_of(text)
    if letters_of(text) < max(config.min_letters, 1):
        return None
    likely = probabilities(text)
    wanted = sum(likely.get(code, 0.0) for code in [*config.languages, NO_LANGUAGE])
    if wanted > 1 - config.sure:
        return None
    best = max(likely, key=lambda code: likely[code])
    return (
        f"{best} (p {likely[best]:.3f}), languages are {', '.join(config.languages)}"
        f" (p {wanted:.3f}, sure is {config.sure:g})"
    )
