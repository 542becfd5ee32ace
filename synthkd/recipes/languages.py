"""Which language a text is in, as probabilities; for the gate and for tags.

Identification is py3langid's: naive Bayes over byte n-grams (Lui and Baldwin, "langid.py", ACL 2012
demonstrations), with its model in the package.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from typing import TYPE_CHECKING

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


def is_installed() -> bool:
    """Whether the extra `synthkd[language]` is."""
    return importlib.util.find_spec("py3langid") is not None


def letters_of(text: str) -> int:
    """How many letters there are to tell a language by, in UTF-8 bytes.

    A Chinese character counts 3, as it says more.
    """
    return sum(len(run.encode(errors="replace")) for run in _LETTERS.findall(text))


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
