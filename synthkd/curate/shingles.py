"""Texts as runs of words, and the runs as 64-bit numbers: what duplicates and leaks are found by.

    >>> words_of("Don't  STOP (now)!")
    [b'don', b't', b'stop', b'now']
    >>> [word.decode() for word in words_of("価格は3.5円")]
    ['価', '格', 'は', '3', '5', '円']

A word is what stands between white space, punctuation and symbols, after NFKC and case folding. In
scripts that write no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) each character
is a word of its own, so that runs of n words are runs of n characters there.

A word's number is 64 bits of its BLAKE2b hash; a run's number is a polynomial of its words'
numbers, stirred. Two different runs of one comparison agree by chance with a probability below
10^-18, and the numbers are the same on every machine.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

from synthkd.text import is_unspaced, normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.int64]

BATCH_CHARS = 400_000
"""Texts are taken in batches of about so much: their words and numbers are then 20 MB."""
KNOWN_WORDS = 400_000
"""Words whose hash is remembered: about 60 MB, then forgotten all at once."""

_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: odd, with no pattern in its bits
_STIR = 0xD6E8FEB86659FD93  # the multiplier of the finaliser rrmxmx by P. Evensen (2018)


@dataclass(frozen=True, slots=True)
class Runs:
    """Numbers of several texts, one text after the other."""

    numbers: Hashes
    """(n_numbers,) uint64."""
    ends: Places
    """(n_texts,) int64: where each text's numbers end; they begin where the last text's end."""

    @property
    def starts(self) -> Places:
        """(n_texts,) int64: where each text's numbers begin."""
        import numpy as np

        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])[: len(self.ends)]

    @property
    def lengths(self) -> Places:
        """(n_texts,) int64: how many numbers each text has."""
        import numpy as np

        return np.diff(self.ends, prepend=0)


def words_of(text: str) -> list[bytes]:
    """The text's words in order, each as UTF-8."""
    if text.isascii():
        return text.encode().translate(_ascii_table()).split()
    spaced = normalised(text).translate(_table())
    return spaced.encode("utf-8", "surrogatepass").split()


class Words:
    """Words as numbers; remembers those that it has seen."""

    def __init__(self) -> None:
        self._known = _Known()

    def __call__(self, texts: Sequence[str]) -> Runs:
        """The words of each text, in order."""
        import numpy as np

        words = [words_of(text) for text in texts]
        ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
        n_words = int(ends[-1]) if len(words) else 0
        numbers = np.fromiter(
            map(self._known.__getitem__, chain.from_iterable(words)), np.uint64, n_words
        )
        if len(self._known) > KNOWN_WORDS:
            self._known.clear()
        return Runs(numbers, ends)


class _Known(dict[bytes, int]):
    def __missing__(self, word: bytes) -> int:
        number = int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
        self[word] = number
        return number


def runs_of(words: Runs, n: int) -> Runs:
    """The runs of `n` words of each text, in order; a text of fewer has none."""
    import numpy as np

    numbers = words.numbers
    size = max(len(numbers) - n + 1, 0)
    run = np.zeros(size, dtype=np.uint64)
    for place in range(n):  # wraps on purpose: arithmetic modulo 2^64
        run *= np.uint64(_ODD)
        run += numbers[place : place + size]
    lengths = np.maximum(words.lengths - (n - 1), 0)
    inside = np.ones(size, dtype=bool)
    for before in range(1, n):  # runs that would reach into the next text
        cut = words.ends[:-1] - before
        inside[cut[(cut >= 0) & (cut < size)]] = False
    return Runs(stirred(run[inside]), np.cumsum(lengths))


def shingles_of(words: Runs, n: int) -> Runs:
    """As `runs_of`, but a text of 1 to n - 1 words is one run of all of them."""
    import numpy as np

    full = runs_of(words, n)
    short = np.flatnonzero((words.lengths > 0) & (words.lengths < n))
    if not len(short):
        return full
    wholes = np.empty(len(short), dtype=np.uint64)
    lengths, starts = words.lengths[short], words.starts[short]
    for size in range(1, n):
        chosen = lengths == size
        run = np.full(int(chosen.sum()), size, dtype=np.uint64)  # so that no padding is a word
        for place in range(size):
            run *= np.uint64(_ODD)
            run += words.numbers[starts[chosen] + place]
        wholes[chosen] = stirred(run)
    numbers = np.insert(full.numbers, full.starts[short], wholes)
    counts = full.lengths
    counts[short] = 1
    return Runs(numbers, np.cumsum(counts))


def stirred(numbers: Hashes) -> Hashes:
    """Each number with every bit of it depending on every bit that came in; one to one."""
    import numpy as np

    shift = np.uint64(32)
    numbers = numbers ^ (numbers >> shift)
    for _ in range(2):
        numbers *= np.uint64(_STIR)
        numbers ^= numbers >> shift
    return numbers


@cache
def _ascii_table() -> bytes:
    """What each byte of an ASCII text becomes: lower case, or a space."""
    known = (chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
    return "".join(known).encode() + bytes(range(128, 256))


class _Spaced(dict[int, str]):
    """What each code point becomes: itself, a space, or itself between spaces."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if unicodedata.category(character)[0] in "PSZC" and not 0xD800 <= code <= 0xDFFF:
            self[code] = " "
        elif is_unspaced(character):
            self[code] = f" {character} "
        else:
            self[code] = character
        return self[code]


@cache
def _table() -> _Spaced:
    return _Spaced()
