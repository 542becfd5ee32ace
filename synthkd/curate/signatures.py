"""MinHash: sets of numbers as signatures, and the pairs that banded signatures put forward.

Two sets of Jaccard similarity s agree in each of their minima with probability s (Broder 1997). A
signature is cut into b bands of r minima; a pair is a candidate when all minima of some band agree:

    P(candidate) = 1 - (1 - s^r)^b

(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3.4). Candidates are verified, so
a false one costs time and never a row, and the only error that is left is to miss a pair. That
decides the split: of `hashes` minima, the longest bands (the fewest false candidates) with which a
pair just at the threshold is found with probability `recall`.

Signatures are those of datasketch's scheme `affine32`, bit for bit, and computed for thousands of
sets at once; docs/adr/0020-minhash-in-numpy.md has the measured reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from synthkd.curate.shingles import Runs, stirred

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Pairs = NDArray[np.int64]
    Hashes32 = NDArray[np.uint32]

NEIGHBOURS = 16
"""How many sets after it, among those that agree in a band, a set is paired with: where thousands
agree, all pairs would be their square."""

_ODD = 0x9E3779B97F4A7C15


def s_curve(similarity: float, bands: int, rows: int) -> float:
    """The probability that a pair of that Jaccard similarity becomes a candidate."""
    return float(1 - (1 - similarity**rows) ** bands)


def split_of(threshold: float, hashes: int, recall: float) -> tuple[int, int]:
    """(bands, rows): the longest bands that find a pair at the threshold with that probability.

    Where not even bands of one minimum do, it is these.
    """
    for rows in range(hashes, 0, -1):
        if s_curve(threshold, hashes // rows, rows) >= recall:
            return hashes // rows, rows
    return hashes, 1


class Signer:
    """Sets of numbers -> one key a band.

    Args:
        bands: how many.
        rows: minima in each.
        seed: of the hash functions; the same everywhere, as signatures are compared.
    """

    def __init__(self, bands: int, rows: int, seed: int = 1) -> None:
        import numpy as np

        self.bands = bands
        self.rows = rows
        chance = np.random.RandomState(seed)  # whose stream is frozen, as numpy promises
        n = bands * rows
        self._factors = chance.randint(0, 2**31, n, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self._terms = chance.randint(0, 2**32, n, dtype=np.uint32)

    def signatures(self, sets: Runs) -> Hashes32:
        """(n_hashes, n_sets) uint32; no set may be empty."""
        import numpy as np

        numbers = _mixed(sets.numbers.astype(np.uint32))
        minima = np.empty((len(self._factors), len(sets.ends)), dtype=np.uint32)
        hashed = np.empty_like(numbers)
        starts = sets.starts
        for index, (factor, term) in enumerate(zip(self._factors, self._terms, strict=True)):
            np.multiply(numbers, factor, out=hashed)
            np.add(hashed, term, out=hashed)
            np.minimum.reduceat(hashed, starts, out=minima[index])
        return minima

    def keys(self, sets: Runs) -> Keys:
        """(n_sets, bands) uint64: equal where all minima of the band are, and by chance 2^-64."""
        import numpy as np

        minima = self.signatures(sets).reshape(self.bands, self.rows, len(sets.ends))
        keys = np.zeros((self.bands, len(sets.ends)), dtype=np.uint64)
        for row in range(self.rows):
            keys *= np.uint64(_ODD)
            keys += minima[:, row]
        return stirred(keys).T


def candidates(keys: Keys, members: Pairs) -> Iterator[Pairs]:
    """Pairs that agree in a band, band by band, each pair at most once a band.

    Args:
        keys: (n, bands), see `Signer.keys`.
        members: (n,) int64: what the rows of `keys` are called.

    Yields:
        (n_pairs, 2) int64, the smaller name first.
    """
    import numpy as np

    bands = keys.shape[1]
    for band in range(bands):
        # Those that agree here are put in the order of the next band, so that in a long run the
        # alike are neighbours.
        by = np.lexsort((keys[:, (band + 1) % bands], keys[:, band]))
        sorted_keys = keys[by, band]
        found = []
        for distance in range(1, NEIGHBOURS + 1):
            (at,) = np.nonzero(sorted_keys[distance:] == sorted_keys[:-distance])
            if not len(at):
                break
            found.append(np.stack([members[by[at]], members[by[at + distance]]], axis=1))
        if found:
            yield np.sort(np.concatenate(found), axis=1)


def _mixed(numbers: Hashes32) -> Hashes32:
    """The finaliser of MurmurHash3, which datasketch's scheme begins with; one to one."""
    import numpy as np

    numbers ^= numbers >> np.uint32(16)
    numbers *= np.uint32(0x85EBCA6B)
    numbers ^= numbers >> np.uint32(13)
    numbers *= np.uint32(0xC2B2AE35)
    numbers ^= numbers >> np.uint32(16)
    return numbers
