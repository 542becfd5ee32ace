"""Vectors without a model from elsewhere: TF-IDF of words and characters, made short by an SVD.

Each text is a bag of its words and its character n-grams (which stand in for words where a script
has no spaces), weighted by (1 + log tf) * idf, each half of unit length; the singular vectors of a
sample of such bags turn each into `dimensions` numbers (latent semantic analysis, Deerwester et
al., JASIS 41, 1990).

The model is a function of its settings and its sample, and the sample is a function of the set of
texts: those with the smallest hashes. Order and copies make no difference.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from synthkd.config.settings import Seed
from synthkd.rows import canonical
from synthkd.steps import StepSettings
from synthkd.text import UNSPACED_CLASS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

VERSION = 2
"""Of the arithmetic below: a change makes other vectors, and so another model."""
WORDS = re.compile(rf"[{UNSPACED_CLASS}]|(?:(?![{UNSPACED_CLASS}])\w)+")
"""In scripts without spaces, such as Chinese or Thai, each character is a word of its own."""
CHARACTER_NGRAMS = (2, 4)
"""From 2: a Chinese or Japanese word often has two characters."""
RARE_FROM_TEXTS = 1_000
"""From so many texts on, what occurs in one text alone is left out: it tells no two alike."""
POWER_ITERATIONS = 3
"""Of the randomised SVD (Halko, Martinsson, Tropp, SIAM Review 53, 2011, section 4.5)."""


class TfidfSettings(StepSettings):
    """TF-IDF and SVD, fitted on the very texts: no download, the same in every run."""

    kind: Literal["tfidf"] = "tfidf"
    dimensions: PositiveInt = Field(default=256, le=4096)
    """Of the vectors; fewer where there are fewer texts or terms."""
    max_terms: PositiveInt = Field(default=20_000, le=1_000_000)
    """The commonest words and, as many again, the commonest character n-grams."""
    fit_texts: PositiveInt = Field(default=10_000, le=10_000_000)
    """The model is fitted on at most so many texts, which are in memory then."""
    seed: Seed = 0
    """Of the sample and of the SVD; the step's own chance has no part in it, so that two steps
    share their vectors."""


class TfidfModel:
    """Fitted when the first vector is wanted."""

    fitted = True

    def __init__(self, settings: TfidfSettings, texts: Iterable[str]) -> None:
        """Note the sample.

        Args:
            settings: what to make.
            texts: what to fit on; read again, in the same order or another, to fit.
        """
        self._settings = settings
        self._texts = texts
        self._sample = _smallest(texts, settings.fit_texts, settings.seed)
        self._fit: _Fit | None = None

    @property
    def identity(self) -> str:
        """Hash of all that decides a vector."""
        from sklearn import __version__

        what: list[Any] = ["tfidf", VERSION, __version__, self._settings.model_dump(mode="json")]
        return sha256(canonical(what) + b"".join(sorted(self._sample))).hexdigest()

    def compute(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions) the vectors; a text without any known term gets zeros."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # more of them take four times the CPU seconds, waiting
            if self._fit is None:
                self._fit = _fitted(self._sampled(), self._settings)
            return self._fit.project(texts)

    def _sampled(self) -> list[str]:
        return _chosen(self._texts, self._sample, self._settings.seed)


def sample_of(texts: Iterable[str], count: int, seed: int) -> list[str]:
    """Those `count` texts that have the smallest hashes; blank ones and copies have no part in it.

    Args:
        texts: read twice.
        count: at most so many.
        seed: of the hashes.
    """
    return _chosen(texts, _smallest(texts, count, seed), seed)


def _chosen(texts: Iterable[str], hashes: set[bytes], seed: int) -> list[str]:
    chosen: dict[bytes, str] = {}
    for text in texts:
        digest = _digest(text, seed)
        if digest in hashes:
            chosen[digest] = text
    return [chosen[digest] for digest in sorted(chosen)]


def _digest(text: str, seed: int) -> bytes:
    told = text.encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=16, key=seed.to_bytes(4, "little")).digest()


def _smallest(texts: Iterable[str], count: int, seed: int) -> set[bytes]:
    """The `count` smallest hashes of all different texts that are not blank."""
    heap: list[int] = []  # negated: the largest of those kept stands first
    kept: set[int] = set()
    for text in texts:
        if not text.strip():
            continue
        number = int.from_bytes(_digest(text, seed))
        if number in kept:
            continue
        if len(heap) < count:
            heapq.heappush(heap, -number)
            kept.add(number)
        elif number < -heap[0]:
            kept.remove(-heapq.heapreplace(heap, -number))
            kept.add(number)
    return {number.to_bytes(16) for number in kept}


@dataclass(frozen=True, slots=True)
class _Fit:
    vectorizers: Sequence[Any]
    components: Floats
    """(n_terms, dimensions)."""

    def project(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions)."""
        import numpy as np

        if not self.vectorizers:
            return np.zeros((len(texts), self.components.shape[1]), dtype=np.float32)
        dense: Floats = np.asarray(self.bags(texts) @ self.components, dtype=np.float32)
        return dense

    def bags(self, texts: Sequence[str]) -> Any:
        """(n, n_terms) sparse: words and characters side by side, each half its own unit length."""
        from scipy.sparse import hstack

        return hstack([one.transform(texts) for one in self.vectorizers], format="csr")


def _fitted(sample: Sequence[str], settings: TfidfSettings) -> _Fit:
    import numpy as np
    from sklearn.utils.extmath import randomized_svd

    vectorizers = [v for v in _vectorizers(settings, len(sample)) if _has_terms(v, sample)]
    if not vectorizers:
        return _Fit((), np.zeros((0, 1), dtype=np.float32))
    bags = _Fit(vectorizers, np.zeros((0, 1), dtype=np.float32)).bags(sample)
    components = min(settings.dimensions, *bags.shape)
    _, _, vectors = randomized_svd(
        bags, components, n_iter=POWER_ITERATIONS, random_state=settings.seed
    )
    return _Fit(vectorizers, np.ascontiguousarray(vectors.T, dtype=np.float32))


def _vectorizers(settings: TfidfSettings, n_texts: int) -> list[Any]:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    common: dict[str, Any] = {
        "sublinear_tf": True,
        "min_df": 2 if n_texts >= RARE_FROM_TEXTS else 1,
        "max_features": settings.max_terms,
        "dtype": np.float32,
    }
    words = TfidfVectorizer(tokenizer=WORDS.findall, token_pattern=None, **common)
    characters = TfidfVectorizer(ngram_range=CHARACTER_NGRAMS, analyzer="char_wb", **common)
    return [words, characters]


def _has_terms(vectorizer: Any, sample: Sequence[str]) -> bool:
    """Fit it; False = the texts hold nothing that it counts, such as only signs."""
    try:
        vectorizer.fit(sample)
    except ValueError as error:  # no term at all: scikit-learn has no class of its own for it
        if "vocabulary" in str(error) or "no terms remain" in str(error):
            return False
        raise
    return True
