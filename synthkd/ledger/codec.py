"""Bodies made small: zstandard, with a dictionary learnt from the ledger's own bodies.

A reply is a small JSON body, most of it the same words as in every other reply. Alone it shrinks to
about half; with a dictionary of what such bodies share, to a quarter or less, in less time. The
dictionary is stored in the ledger, and each entry says which one it was packed with, so a new one
never touches old entries.

    codec = Codec(connection)
    packed = codec.pack(b"{...}")                    # with the newest dictionary
    codec.unpack[codec.newest](packed)               # b"{...}"
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

import zstandard

LEVEL = 3
"""On bodies of 0.3 to 1.7 kB level 6 takes three times as long and saves 2 % more."""
DICTIONARY_BYTES = 32 * 1024
"""64 kB save 3 % more at best, and are worse where 1,000 samples do not fill them."""
SAMPLES = 500
"""Answers that a dictionary is learnt from: the latest ones."""
PAYS = 0.9
"""A new dictionary must pack bodies it has not seen to this share of what the present one does."""
NO_DICTIONARY = 0

Bodies = Sequence[bytes]


class Codec:
    """Packs and unpacks the bodies of one ledger. Not for two threads at once.

    Args:
        connection: where dictionaries are read from; of the thread that uses the codec.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.unpack = _Unpackers(connection)
        self.newest = NO_DICTIONARY
        self._pack = packer(None)
        self._connection = connection
        self.renew()

    def pack(self, body: bytes) -> bytes:
        """The body, packed with the newest dictionary."""
        return self._pack(body)

    def renew(self) -> None:
        """Pack with the newest dictionary from now on; another process may have learnt one."""
        query = "select id, body from dictionaries order by id desc limit 1"
        found = self._connection.execute(query).fetchone()
        self.newest, dictionary = found or (NO_DICTIONARY, None)
        self._pack = packer(dictionary)

    def learn(self) -> None:
        """Learn a dictionary from the latest answers; keep it if it pays. In a transaction."""
        self.renew()
        first, last, bodies = self.samples()
        # Every fifth: replies and questions alternate, and both are wanted on both sides.
        tested, taught = bodies[::5], [body for n, body in enumerate(bodies) if n % 5]
        dictionary = train(taught)
        if dictionary is None:
            return
        pack = packer(dictionary)
        if sum(len(pack(body)) for body in tested) < PAYS * sum(
            len(self._pack(body)) for body in tested
        ):
            self.keep(dictionary, first, last)

    def samples(self, first: int = 1, last: int = 2**63 - 1) -> tuple[int, int, Bodies]:
        """The latest answers with ids from `first` to `last`: the range they span, their bodies."""
        rows = self._connection.execute(
            "select id, dictionary, reply, asked from answers where id between ? and ?"
            " order by id desc limit ?",
            (first, last, SAMPLES),
        ).fetchall()
        bodies = [
            self.unpack[dictionary](body)
            for _, dictionary, *pair in rows
            for body in pair
            if body is not None
        ]
        return (rows[-1][0], rows[0][0], bodies) if rows else (0, 0, [])

    def keep(self, dictionary: bytes, first: int, last: int) -> None:
        """Store a dictionary that was learnt from the answers `first` to `last`; pack with it."""
        # The range is kept because a dictionary holds pieces of its samples: who erases one of
        # them has to replace the dictionary too.
        self._connection.execute(
            "insert into dictionaries (created_s, first_answer, last_answer, body)"
            " values (?, ?, ?, ?)",
            (int(time.time()), first, last, dictionary),
        )
        self.renew()


class _Unpackers(dict[int, Callable[[bytes], bytes]]):
    """Dictionary id -> how to unpack; read from the ledger when first asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self[NO_DICTIONARY] = zstandard.ZstdDecompressor().decompress

    def __missing__(self, dictionary: int) -> Callable[[bytes], bytes]:
        query = "select body from dictionaries where id = ?"
        found = self._connection.execute(query, (dictionary,)).fetchone()
        if found is None:
            raise zstandard.ZstdError(f"dictionary {dictionary} is missing")
        data = zstandard.ZstdCompressionDict(found[0])
        self[dictionary] = zstandard.ZstdDecompressor(dict_data=data).decompress
        return self[dictionary]


def packer(dictionary: bytes | None) -> Callable[[bytes], bytes]:
    """How to pack with this dictionary; a checksum tells a damaged body from a sound one."""
    if dictionary is None:
        return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress
    data = zstandard.ZstdCompressionDict(dictionary)
    data.precompute_compress(level=LEVEL)
    # The entry says which dictionary: no need to say it again in each body.
    return zstandard.ZstdCompressor(
        level=LEVEL, write_checksum=True, dict_data=data, write_dict_id=False
    ).compress


def train(bodies: Bodies) -> bytes | None:
    """A dictionary of what the bodies share; None when there is too little to learn from."""
    if sum(map(len, bodies)) < 2 * DICTIONARY_BYTES:
        return None
    try:
        return zstandard.train_dictionary(DICTIONARY_BYTES, list(bodies)).as_bytes()
    except zstandard.ZstdError:  # bodies that share nothing
        return None
