"""Throws out rows whose words are nearly those of an earlier one: MinHash, then the exact Jaccard.

    - use: dedup.minhash
      with: {field: question}

Texts become sets of shingles (runs of `words` words, `synthkd.curate.shingles`); banded MinHash
signatures put pairs forward (`synthkd.curate.signatures`); a pair counts when the Jaccard
similarity of its sets, |A and B| / |A or B|, reaches `threshold`; a group of such pairs keeps one
row (`synthkd.curate.groups`). Texts stay in the spool and shingles in a scratch file: memory is the
signatures, 8 bytes a band and row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, TYPE_CHECKING

from pydantic import Field

from synthkd.curate.groups import Compared, GroupConfig, Groups, Verdict, kept_rows
from synthkd.curate.shingles import BATCH_CHARS, Runs, Words, shingles_of, stirred
from synthkd.curate.signatures import Signer, candidates, split_of
from synthkd.io.spool import Table
from synthkd.rows import Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Index = NDArray[np.int64]
    Floats = NDArray[np.float64]

VERIFIED_AT_ONCE = 2_000_000
"""Shingles of the pairs that are verified together: some 100 MB."""


class MinHashConfig(GroupConfig):
    """Near duplicates by their words."""

    words: int = Field(default=1, ge=1, le=50)
    """Words of a shingle; characters in scripts without spaces. 1, the bag of words: on sentence
    pairs that people judged (MSRP) it ranks better than runs of 2, 3 or 5 (average precision 0.867,
    0.827, 0.800, 0.772). Take 3 or more where the order of words is the matter, as in code."""
    threshold: float = Field(default=0.8, gt=0.05, le=1)
    """The Jaccard similarity from which two texts are duplicates. 0.8: of the pairs of MSRP above
    it, 0.985 say the same (0.7: 0.946; 3 words at 0.7: 0.948, and a quarter of the pairs found)."""
    recall: float = Field(default=0.95, gt=0, lt=1)
    """The least probability to find a pair that is just at the threshold; it costs candidates."""
    hashes: int = Field(default=128, ge=1, le=1024)
    """Minima of a signature: more of them find the same pairs with fewer false candidates."""


@table_step("dedup.minhash", needs=lambda config: config.needed)
def minhash(table: Table, kit: TableKit, config: MinHashConfig, /) -> Iterator[Row]:
    """One row of each group whose texts have nearly the same words; the others name it.

    Rejects `near_duplicate` with the row kept and the exact similarity to it, and rows without
    text in the compared fields (`missing_field`, `no_text`). Texts without any word are nobody's
    duplicates. Memory: 8 bytes a band and row, 100 for its id and place, never a text.
    """
    bands, rows = split_of(config.threshold, config.hashes, config.recall)
    compared = Compared(table, config, kit.desk.folder)
    with kit.scratch_file("shingles").open("w+b") as file:
        sets = ShingleSets(file)
        keys, members = sets.read(compared, config.words, Signer(bands, rows))
        groups = Groups(len(compared))
        n_verified = group(groups, sets, keys, members, config.threshold, compared.n_ours)
        kit.note({"bands": bands, "rows": rows, "pairs_verified": n_verified})
        verdict = Verdict(
            reason="near_duplicate",
            measure="Jaccard",
            threshold=config.threshold,
            similarity=sets.jaccard,
        )
        yield from kept_rows(table, kit, config, compared, groups, verdict)


class ShingleSets:
    """The shingles of all things, in a file; in memory are 16 bytes a thing.

    Args:
        file: empty, for reading and writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends: Index
        self.digests: Keys
        """(n,) uint64: equal for texts that are the same word by word; 0 = no shingles."""

    def read(
        self, texts: Iterable[tuple[int, str]], words: int, signer: Signer
    ) -> tuple[Keys, Index]:
        """Take all texts in.

        Args:
            texts: (index, text), by rising index from 0 on; those left out have no shingles.
            words: of a shingle.
            signer: makes the keys.

        Returns:
            (n_keyed, bands) keys, and (n_keyed,) the things that they are of: of those that are
            the same word by word the first, and none without shingles.
        """
        import numpy as np

        to_words = Words()
        lengths, digests = array("q"), array("Q")
        keys, members = [], []
        for batch in batches(texts):
            sets = shingles_of(to_words([text for _, text in batch]), words)
            sets.numbers.tofile(self._file)
            indices = np.array([index for index, _ in batch], dtype=np.int64)
            padding = int(indices[-1]) + 1 - len(lengths)
            batch_lengths = np.zeros(padding, dtype=np.int64)
            batch_digests = np.zeros(padding, dtype=np.uint64)
            batch_lengths[indices - len(lengths)] = sets.lengths
            filled = sets.lengths > 0
            full = Runs(sets.numbers, sets.ends[filled])
            if len(full.ends):
                batch_digests[indices[filled] - len(lengths)] = _digests(full)
                keys.append(signer.keys(full))
                members.append(indices[filled])
            lengths.frombytes(batch_lengths.tobytes())
            digests.frombytes(batch_digests.tobytes())
        self._file.flush()
        self._ends = np.cumsum(np.array(lengths, dtype=np.int64))
        self.digests = np.array(digests, dtype=np.uint64)
        if not keys:
            return np.empty((0, signer.bands), dtype=np.uint64), np.empty(0, dtype=np.int64)
        all_members = np.concatenate(members)
        _, first = np.unique(self.digests[all_members], return_index=True)
        first.sort()
        return np.concatenate(keys)[first], all_members[first]

    def jaccard(self, pairs: Index) -> Floats:
        """(n_pairs, 2) -> (n_pairs,): the similarity of the two sets; of two empty ones 0."""
        import numpy as np

        lengths = np.diff(self._ends, prepend=0)
        similarity = np.zeros(len(pairs))
        cost = np.cumsum(lengths[pairs].sum(axis=1)) // VERIFIED_AT_ONCE
        cuts = np.flatnonzero(np.diff(cost)) + 1
        for some in np.split(np.arange(len(pairs)), cuts):
            if len(some):
                similarity[some] = self._jaccard(pairs[some], lengths)
        return similarity

    def _jaccard(self, pairs: Index, lengths: Index) -> Floats:
        import numpy as np

        one, owner_of_one = self._marked(pairs[:, 0], lengths)
        other, owner_of_other = self._marked(pairs[:, 1], lengths)
        _, common, _ = np.intersect1d(one, other, assume_unique=True, return_indices=True)
        n = len(pairs)
        both = np.bincount(owner_of_one[common], minlength=n)
        sizes = np.bincount(owner_of_one, minlength=n) + np.bincount(owner_of_other, minlength=n)
        similarity: Floats = both / np.maximum(sizes - both, 1)
        return similarity

    def _marked(self, things: Index, lengths: Index) -> tuple[Keys, Index]:
        """The different shingles of each thing, marked with its place, sorted; and the place."""
        import numpy as np

        numbers, place = self._gathered(things, lengths)
        # So that one sort finds what is the same in the same pair.
        mark = stirred(place.astype(np.uint64) + np.uint64(1))
        marked, where = np.unique(numbers ^ mark, return_index=True)
        return marked, place[where]

    def _gathered(self, things: Index, lengths: Index) -> tuple[Keys, Index]:
        """The shingles of these things, one after the other, and the place of each one's thing."""
        import numpy as np

        if not len(self._ends) or self._ends[-1] == 0:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        on_disk = np.memmap(self._file, dtype=np.uint64, mode="r")
        sizes = lengths[things]
        owner = np.repeat(np.arange(len(things)), sizes)
        offset = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        begin = self._ends[things] - sizes
        return np.asarray(on_disk[np.repeat(begin, sizes) + offset]), owner


def batches(texts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """The texts, so many at a time that they have about `BATCH_CHARS` characters together."""
    batch: list[tuple[int, str]] = []
    n_chars = 0
    for index, text in texts:
        batch.append((index, text))
        n_chars += len(text) + 50  # a text without characters costs something too
        if n_chars >= BATCH_CHARS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch


def group(
    groups: Groups, sets: ShingleSets, keys: Keys, members: Index, threshold: float, n_ours: int
) -> int:
    """Join what is alike; returns how many pairs were verified for that."""
    import numpy as np

    n_verified = 0
    known = np.empty(0, dtype=np.int64)
    for pairs in chain([_the_same(sets.digests)], candidates(keys, members)):
        roots = groups.roots()
        ours = pairs[:, 0] < n_ours  # two of theirs decide nothing
        pairs = pairs[ours & (roots[pairs[:, 0]] != roots[pairs[:, 1]])]
        codes = np.unique(pairs[:, 0] * np.int64(len(roots)) + pairs[:, 1])
        codes = codes[~np.isin(codes, known, assume_unique=True)]
        pairs = np.stack(np.divmod(codes, np.int64(max(len(roots), 1))), axis=1)
        similarity = sets.jaccard(pairs)
        n_verified += len(pairs)
        alike = similarity >= threshold
        known = np.union1d(known, codes[~alike])
        groups.join_all(pairs[alike], similarity[alike], n_ours)
    return n_verified


def _the_same(digests: Keys) -> Index:
    """(n, 2): each thing with the first that says the same word by word."""
    import numpy as np

    (there,) = np.nonzero(digests)
    _, first, inverse = np.unique(digests[there], return_index=True, return_inverse=True)
    pairs = np.stack([there[first[inverse]], there], axis=1)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _digests(sets: Runs) -> Keys:
    """(n,) uint64 of each run of numbers, in which their order counts; never 0."""
    import numpy as np

    place = np.arange(len(sets.numbers)) - np.repeat(sets.starts, sets.lengths)
    placed = stirred(sets.numbers + stirred(place.astype(np.uint64) + np.uint64(1)))
    return np.maximum(np.add.reduceat(placed, sets.starts), np.uint64(1))
