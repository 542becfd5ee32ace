"""`gate.language`: only texts in the languages that are wanted.

Identification is py3langid's: naive Bayes over byte n-grams (Lui and Baldwin, "langid.py", ACL 2012
demonstrations), with its model in the package. A text is rejected when the model is sure that it is
in none of the wanted languages; what is too short to tell passes. So a gate for English lets a
French "Oui" through, and does not throw out "OK".
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt, model_validator

from synthkd.config import Share
from synthkd.curate.fields import text_of
from synthkd.errors import Rejected
from synthkd.hints import near
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

READ_CHARS = 4000
"""Of the beginning: more adds nothing to the certainty, and a text of 5 MB would take a second."""
NO_LANGUAGE = "zxx"
"""The model's label for what is no language, such as tables of numbers (ISO 639-2)."""
_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu "
    "ext fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is "
    "it ja jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne "
    "nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta "
    "te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu"
)
LANGUAGES = frozenset(_CODES.split())
"""What the model knows, by ISO 639 code; here, so that a wrong one is told before anything runs."""
_CODE_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+")


class LanguageConfig(StepSettings):
    """Which languages a text may be in."""

    field: str
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
        if importlib.util.find_spec("py3langid") is None:
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
    letters = sum(len(run.encode(errors="replace")) for run in _LETTERS.findall(text))
    if letters < max(config.min_letters, 1):
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


def prose_of(text: str) -> str:
    """What is identified: the beginning, without code in fences."""
    return _CODE_FENCE.sub(" ", text[: 2 * READ_CHARS])[:READ_CHARS]


def probabilities(text: str) -> dict[str, float]:
    """How probable each language is for the text; they sum to 1."""
    return {code: float(p) for code, p in _identifier().rank(text)}


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """Unpacked once: it takes 0.8 s and 120 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
