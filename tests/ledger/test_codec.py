from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.ledger import Entry, Question
from synthkd.ledger.codec import DICTIONARY_BYTES, packer, train
from synthkd.ledger.sqlite import FIRST_LOOK, SqliteLedger

WORDS = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in ("n", "rt", "st", "ck", "")]


def reply(number: int, words: int = 120) -> bytes:
    """A reply as chat APIs send it, about 1.3 kB."""
    rng = random.Random(number)
    return orjson.dumps(
        {
            "id": f"chatcmpl-{rng.getrandbits(96):024x}",
            "object": "chat.completion",
            "created": 1_760_000_000 + number,
            "model": "some-model-2026-01-01",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": " ".join(rng.choices(WORDS, k=words)),
                        "refusal": None,
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 50, "completion_tokens": words, "total_tokens": 50 + words},
            "system_fingerprint": "fp_0123456789",
        }
    )


def question(number: int) -> Question:
    asked = {
        "v": 1,
        "api": "chat",
        "sample": 0,
        "served_by": "http://127.0.0.1:8000/v1",
        "body": {
            "model": "m",
            "messages": [{"role": "user", "content": f"Say something about item {number}."}],
        },
    }
    return Question(served_by="http://127.0.0.1:8000/v1", model="m", asked=orjson.dumps(asked))


async def fill(ledger: SqliteLedger, numbers: range) -> None:
    async with asyncio.TaskGroup() as group:
        for n in numbers:
            entry = Entry(f"{n:064x}", 200, 200, "stop", 120, reply(n))
            group.create_task(ledger.store(entry, question(n)))
    await ledger.flush()


def packed_bytes(ledger: SqliteLedger, dictionary: int) -> int:
    query = "select coalesce(sum(length(reply)), 0) from answers where dictionary = ?"
    found: int = ledger._reader.execute(query, (dictionary,)).fetchone()[0]
    return found


async def test_a_dictionary_is_learnt_and_old_entries_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    await fill(ledger, range(FIRST_LOOK))
    assert packed_bytes(ledger, 1) == 0
    await fill(ledger, range(FIRST_LOOK, 2 * FIRST_LOOK))
    raw = sum(len(reply(n)) for n in range(FIRST_LOOK, 2 * FIRST_LOOK))
    assert packed_bytes(ledger, 1) < 0.8 * packed_bytes(ledger, 0)
    assert packed_bytes(ledger, 1) < raw / 3
    again = SqliteLedger(path)
    for found in (ledger, again):
        for n in range(2 * FIRST_LOOK):
            assert found.find(f"{n:064x}")[0].reply == reply(n)
        await found.close()


async def test_another_process_packs_with_what_is_there_and_learns_nothing_that_does_not_pay(
    tmp_path: Path,
) -> None:
    first = SqliteLedger(tmp_path / "l")
    await fill(first, range(FIRST_LOOK))
    second = SqliteLedger(tmp_path / "l")
    await fill(second, range(FIRST_LOOK, 2 * FIRST_LOOK))
    assert packed_bytes(second, 1) > 0
    query = "select count(*), max(last_answer) from dictionaries"
    assert second._reader.execute(query).fetchone() == (1, FIRST_LOOK)
    for n in (0, FIRST_LOOK, 2 * FIRST_LOOK - 1):
        assert first.find(f"{n:064x}")[0].reply == reply(n), "with a dictionary it had not read yet"
    await first.close()
    await second.close()


def incompressible() -> Iterator[bytes]:
    rng = random.Random(0)
    while True:
        yield rng.randbytes(500)


def test_nothing_is_learnt_from_too_little_or_from_noise() -> None:
    assert train([]) is None
    assert train([b"{}"] * 100) is None
    assert train([reply(1)] * 3) is None
    noise = [body for body, _ in zip(incompressible(), range(400), strict=False)]
    learnt = train(noise)
    if learnt is not None:  # whether it pays is for the ledger to see, on bodies not yet seen
        unseen = random.Random(1).randbytes(500)
        assert len(packer(learnt)(unseen)) > 0.9 * len(packer(None)(unseen))


LEARNT = train([reply(n) for n in range(300)])


@given(st.binary(max_size=5000))
def test_whatever_is_packed_comes_back(body: bytes) -> None:
    import zstandard

    assert LEARNT is not None
    assert len(LEARNT) <= DICTIONARY_BYTES
    data = zstandard.ZstdCompressionDict(LEARNT)
    assert zstandard.ZstdDecompressor().decompress(packer(None)(body)) == body
    packed = packer(LEARNT)(body)
    assert zstandard.ZstdDecompressor(dict_data=data).decompress(packed) == body


@pytest.mark.parametrize("dictionary", [None, LEARNT])
def test_a_body_that_was_damaged_is_told_from_a_sound_one(dictionary: bytes | None) -> None:
    import zstandard

    packed = bytearray(packer(dictionary)(reply(7)))
    packed[len(packed) // 2] ^= 0xFF
    data = zstandard.ZstdCompressionDict(dictionary or b"")
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor(dict_data=data).decompress(bytes(packed))
