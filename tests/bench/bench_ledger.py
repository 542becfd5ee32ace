"""What a stored and a found answer cost: `python tests/bench/bench_ledger.py [--entries N]`.

Replies and questions of about 3 kB together, random keys, 512 writers at once, through the real
ledger; then the same packed bodies in two bare layouts, without event loop and accounts: a table
with its index, and an index beside an append-only segment. Bodies are made of recorded answers
where SYNTHKD_DATA has them, else of invented words.

Rates are given for each tenth, because what random keys cost grows with the index. The size that
the goal speaks of is `--entries 10000000`: an hour of one core, 12 GB of disk at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from synthkd.ledger import Entry, Question
from synthkd.ledger.codec import packer, train
from synthkd.ledger.schema import CHECKPOINT_PAGES
from synthkd.ledger.sqlite import SqliteLedger

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
RECORDED = DATA / "instr_alpaca_eval" / "model_outputs.parquet"
REPLY_BYTES = 2_500
POOL = 4_000
"""Different bodies; each is packed for itself, so that one comes back changes nothing."""
WRITERS = 512
FOUND = 20_000


def main() -> None:
    """Print one table for the real ledger and one line for each bare layout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=60_000)
    parser.add_argument("--layouts", default="ledger,table,segments")
    parser.add_argument("--folder", type=Path, help="where to write; on a real disk")
    arguments = parser.parse_args()
    pool = bodies()
    raw = statistics.mean(len(reply) + len(asked) for reply, asked in pool)
    print(f"{arguments.entries} entries of {raw:.0f} bytes, made of {origin()}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        packing(pool)
        for layout in arguments.layouts.split(","):
            LAYOUTS[layout](Path(folder) / layout, pool, arguments.entries)
            for file in Path(folder).iterdir():
                file.unlink()


Pool = list[tuple[bytes, bytes]]


def bodies() -> Pool:
    """Replies with their questions."""
    rng = random.Random(0)
    texts, questions = recorded() if RECORDED.exists() else invented(rng)
    pool = []
    for number in range(POOL):
        text = ""
        while len(text) < REPLY_BYTES - 600:
            text += rng.choice(texts) + "\n"
        pool.append((reply(text[: REPLY_BYTES - 600], rng), asked(rng.choice(questions), number)))
    return pool


def origin() -> str:
    """Where the words are from."""
    return "recorded answers" if RECORDED.exists() else "invented words"


def recorded() -> tuple[list[str], list[str]]:
    """Answers and instructions that were really given."""
    import pyarrow.parquet as pq

    table = pq.read_table(RECORDED, columns=["output", "instruction"])
    return table["output"].to_pylist(), table["instruction"].to_pylist()


def invented(rng: random.Random) -> tuple[list[str], list[str]]:
    """Nonsense with the letters and lengths of English."""
    letters = "eeeeeetttttaaaaooooiiiinnnnsssshhhrrrddlluuccmmwwffggyyppbbvvk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(3_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    texts = [" ".join(rng.choices(words, weights, k=rng.randint(40, 400))) for _ in range(2_000)]
    return texts, [text[:200] for text in texts]


def reply(text: str, rng: random.Random) -> bytes:
    """A reply as chat APIs send it."""
    details = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0}
    body = {
        "id": f"chatcmpl-{rng.getrandbits(116):029x}",
        "object": "chat.completion",
        "created": 1_764_000_000 + rng.randrange(100_000),
        "model": "some-model-2026-01-01",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": rng.randrange(50, 900),
            "completion_tokens": len(text) // 4,
            "total_tokens": 900 + len(text) // 4,
            "completion_tokens_details": details,
        },
        "system_fingerprint": f"fp_{rng.getrandbits(40):010x}",
    }
    return orjson.dumps(body)


def asked(instruction: str, sample: int) -> bytes:
    """What was asked, as the key has it."""
    system = "You are a helpful assistant. Answer the instruction below as well as you can."
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": instruction},
    ]
    body = {"model": "some-model", "messages": messages, "temperature": 0.7}
    whole = {"v": 1, "api": "chat", "served_by": "http://x/v1", "body": body, "sample": sample}
    return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)


def key(number: int) -> bytes:
    """32 bytes, as random as real ones."""
    return hashlib.sha256(b"%d" % number).digest()


def packing(pool: Pool) -> None:
    """How small bodies become, and what that costs, on bodies that were not learnt from."""
    dictionary = train([body for pair in pool[:500] for body in pair])
    fresh = pool[500:2_500]
    raw = sum(len(reply) + len(asked) for reply, asked in fresh)
    for name, pack in (("no dictionary", packer(None)), ("a learnt one", packer(dictionary))):
        started = time.process_time()
        packed = sum(len(pack(reply)) + len(pack(asked)) for reply, asked in fresh)
        cpu_us = (time.process_time() - started) / len(fresh) * 1e6
        print(f"packed with {name:14} {packed / raw:6.1%} of raw, {cpu_us:5.1f} us CPU an entry")


class Tenths:
    """Wall and CPU microseconds an entry, for each tenth of the entries."""

    def __init__(self, name: str, entries: int) -> None:
        self.name = name
        self.tenth = entries // 10
        self.wall_us: list[float] = []
        self.cpu_us: list[float] = []
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def note(self) -> None:
        """Another tenth is stored."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        self.wall_us.append((wall_s - self._wall_s) / self.tenth * 1e6)
        self.cpu_us.append((cpu_s - self._cpu_s) / self.tenth * 1e6)
        self._wall_s, self._cpu_s = wall_s, cpu_s
        print(
            f"  {self.name} tenth {len(self.wall_us):2}: {self.wall_us[-1]:5.1f} us wall, "
            f"{self.cpu_us[-1]:5.1f} us CPU an entry, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    def report(self, folder: Path, found_us: float) -> None:
        """One line at the end."""
        fall = [1 - row[0] / row[-1] for row in (self.wall_us, self.cpu_us)]
        on_disk = sum(file.stat().st_size for file in folder.iterdir()) / (10 * self.tenth)
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{self.name}: insert {statistics.mean(self.wall_us):.1f} us wall, "
            f"{statistics.mean(self.cpu_us):.1f} us CPU; the rate falls by {fall[0]:.0%} (wall), "
            f"{fall[1]:.0%} (CPU); {on_disk:.0f} bytes an entry on disk; a hit {found_us:.1f} us "
            f"CPU; peak RSS {rss_mb:.0f} MB",
            flush=True,
        )


def through_the_ledger(path: Path, pool: Pool, entries: int) -> None:
    """Everything on: group commit, dictionary, question."""
    tenths = Tenths("ledger", entries)

    async def fill() -> None:
        ledger = SqliteLedger(path)
        numbers = iter(range(entries))

        async def write() -> None:
            for number in numbers:
                reply, asked = pool[number % POOL]
                entry = Entry(key(number).hex(), 700, 200, "stop", 600, reply)
                await ledger.store(
                    entry, Question(served_by="http://x/v1", model="some-model", asked=asked)
                )
                if (number + 1) % tenths.tenth == 0:
                    tenths.note()

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(write())
        await ledger.close()

    asyncio.run(fill())
    again = SqliteLedger(path)
    found_us = looked_up(lambda wanted: again.find(wanted.hex()), entries)
    asyncio.run(again.close())
    tenths.report(path.parent, found_us)


def looked_up(find: Callable[[bytes], object], entries: int) -> float:
    """CPU microseconds of a hit, at random, once its page is in memory."""
    rng = random.Random(1)
    wanted = [key(rng.randrange(entries)) for _ in range(FOUND)]
    for one in wanted:
        if not find(one):
            raise AssertionError(f"{one.hex()} is not found")
    started = time.process_time()
    for one in wanted:
        find(one)
    return (time.process_time() - started) / FOUND * 1e6


def bare(path: Path, pool: Pool, entries: int, *, segments: bool) -> None:
    """The same bodies with nothing around them: where should they lie?"""
    dictionary = train([body for pair in pool[:500] for body in pair])
    pack = packer(dictionary)
    packed = [pack(reply) + pack(asked) for reply, asked in pool]
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = wal", "synchronous = normal"):
        connection.execute(f"pragma {pragma}")
    connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("create table answers (key blob, status int, place, size int)")
    connection.execute("create index answers_by_key on answers (substr(key, 1, 6))")
    find = "select place, size from answers where substr(key, 1, 6) = substr(?1, 1, 6) and key = ?1"
    tenths = Tenths("segments" if segments else "table", entries)
    end = 0
    with path.with_suffix(".segment").open("w+b", buffering=0) as segment:
        for group in grouped(entries, tenths):
            rows: list[tuple[bytes, int, int | bytes, int]] = []
            for number in group:
                wanted = key(number)
                connection.execute(find, (wanted,)).fetchall()
                body = packed[number % POOL]
                rows.append((wanted, 200, end if segments else body, len(body)))
                end += len(body)
            if segments:
                segment.write(b"".join(packed[number % POOL] for number in group))
            connection.execute("begin immediate")
            connection.executemany("insert into answers values (?, ?, ?, ?)", rows)
            connection.execute("commit")

        def look_up(wanted: bytes) -> bytes:
            place, size = connection.execute(find, (wanted,)).fetchone()
            return os.pread(segment.fileno(), size, place) if segments else place

        found_us = looked_up(look_up, entries)
    connection.close()
    tenths.report(path.parent, found_us)


def grouped(entries: int, tenths: Tenths) -> Iterator[range]:
    """Numbers in groups of a commit, as 256 questions in flight make them."""
    for tenth in range(10):
        last = (tenth + 1) * tenths.tenth
        for first in range(tenth * tenths.tenth, last, 100):
            yield range(first, min(first + 100, last))
        tenths.note()


LAYOUTS: dict[str, Callable[[Path, Pool, int], None]] = {
    "ledger": through_the_ledger,
    "table": lambda path, pool, entries: bare(path, pool, entries, segments=False),
    "segments": lambda path, pool, entries: bare(path, pool, entries, segments=True),
}

if __name__ == "__main__":
    main()
