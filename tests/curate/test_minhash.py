"""dedup.minhash: which pairs are found, which row is kept, and what becomes of bad input."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.minhash import MinHashConfig, ShingleSets, minhash
from synthkd.curate.semantic import SemanticConfig, semantic
from synthkd.curate.shingles import Runs, Words, runs_of, shingles_of, words_of
from synthkd.curate.signatures import Signer, s_curve, split_of
from synthkd.desk import Desk
from synthkd.errors import SourceError
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, source_row
from synthkd.table_kit import TableKit


def rows_of(*fields: Fields) -> list[Row]:
    return [source_row("rows", [i], ordinal=i, fields=f) for i, f in enumerate(fields)]


def texts(*said: str) -> list[Row]:
    return rows_of(*({"q": text} for text in said))


class Outcome:
    def __init__(self, rows: Sequence[Row], **given: object) -> None:
        kit = TableKit(Desk(step="dedup.minhash"))
        config = MinHashConfig.model_validate({"field": "q", "words": 3, "threshold": 0.7, **given})
        with RowSpool.of(Path("rows.spool"), rows) as spool:
            self.kept = list(minhash(Table(spool), kit, config))
        self.gone = {row.id: why for row, why in kit.take_gone()}
        self.figures = kit.figures
        assert len(self.kept) + len(self.gone) == len(rows)

    def detail(self, row: Row) -> str:
        return getattr(self.gone[row.id], "detail", "")

    def reason(self, row: Row) -> str:
        return getattr(self.gone[row.id], "reason", "")


def jaccard(one: str, other: str, n: int) -> float:
    """By the book: sets of tuples of words."""

    def shingles(text: str) -> set[tuple[bytes, ...]]:
        words = words_of(text)
        if len(words) < n:
            return {tuple(words)} if words else set()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b) if a | b else 0.0


LONG = "the quick brown fox jumps over the lazy dog and runs into the dark wood near the river"


def test_the_first_is_kept_and_named_with_the_exact_similarity() -> None:
    rows = texts(LONG, "something else altogether is said here", LONG + " tonight")
    outcome = Outcome(rows)
    assert outcome.kept == rows[:2]
    assert outcome.reason(rows[2]) == "near_duplicate"
    assert outcome.detail(rows[2]) == f"of row {rows[0].id} (Jaccard {16 / 17:.3f})"
    assert outcome.figures["groups"] == 1
    assert outcome.figures["duplicates"] == 1


def test_the_longest_or_the_best_may_be_kept() -> None:
    rows = rows_of(
        {"q": LONG, "s": 3}, {"q": LONG + " tonight", "s": None}, {"q": "the " + LONG, "s": 4.5}
    )
    assert Outcome(rows, keep="longest").kept == [rows[1]]
    assert Outcome(rows, keep="score", score="s").kept == [rows[2]]
    assert Outcome(rows).kept == [rows[0]]


@pytest.mark.parametrize("step", [minhash, semantic])
def test_what_an_earlier_round_has_kept_wins_whatever_keep_says(step: Any) -> None:
    before = texts(LONG, "something else altogether is said here")
    new = texts(LONG, LONG + " tonight", "quite new and like nothing")
    later = [row._replace(id=f"{n:016x}", order=(7, n)) for n, row in enumerate(new)]
    kit = TableKit(Desk(step="dedup"))
    config = {"field": "q", "threshold": 0.7, "keep": "longest"}
    settings = (MinHashConfig if step is minhash else SemanticConfig).model_validate(config)
    with RowSpool.of(Path("rows.spool"), later) as spool:
        assert list(step(Table(spool, before), kit, settings)) == [later[2]]
    gone = {row.id: getattr(why, "detail", "") for row, why in kit.take_gone()}
    assert gone.keys() == {later[0].id, later[1].id}
    assert all(detail.startswith(f"of row {before[0].id} (") for detail in gone.values())
    assert (kit.figures["of_earlier_rounds"], kit.figures["of_other_datasets"]) == (2, 0)


def test_a_chain_names_the_row_it_came_by() -> None:
    words = [f"w{i}" for i in range(40)]
    rows = texts(" ".join(words[:30]), " ".join(words[4:34]), " ".join(words[8:38]))
    outcome = Outcome(rows, words=1, threshold=0.7)
    assert outcome.kept == rows[:1]
    assert outcome.detail(rows[2]) == (
        f"of row {rows[0].id} (Jaccard {22 / 38:.3f}), by way of row {rows[1].id} ({26 / 34:.3f})"
    )


def test_other_datasets_are_compared_and_never_kept(tmp_path: Path) -> None:
    other = tmp_path / "old.jsonl"
    other.write_bytes(
        b"\n".join(orjson.dumps(r) for r in [{"x": 1}, {"text": LONG}, {"text": LONG}])
    )
    rows = texts("something else altogether is said here", LONG + " now", LONG)
    outcome = Outcome(rows, against=[{"jsonl": str(other), "field": "text"}])
    assert outcome.kept == rows[:1]
    assert outcome.detail(rows[2]) == "of old.jsonl row 2 (Jaccard 1.000)"
    assert "of old.jsonl row 2 (Jaccard 0.9" in outcome.detail(rows[1])
    assert outcome.figures["of_other_datasets"] == 2


def test_a_file_without_the_field_is_one_clear_message(tmp_path: Path) -> None:
    other = tmp_path / "old.csv"
    other.write_text("question,answer\na,b\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"old.csv has no field 'text'; its fields are: question"):
        Outcome(texts(LONG), against=[{"csv": str(other), "field": "text"}])


@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_all_rows_equal(n: int) -> None:
    outcome = Outcome(texts(*[LONG] * n))
    assert len(outcome.kept) == min(n, 1)
    assert outcome.figures["largest_group"] == n


def test_texts_without_words_are_nobodys_duplicates() -> None:
    rows = texts("", "", "!!!", " \n", "word", "word")
    assert [row.order for row in Outcome(rows).kept] == [(0,), (1,), (2,), (3,), (4,)]


def test_rows_without_text_are_rejected_and_said_why() -> None:
    rows = rows_of({}, {"q": None}, {"q": 3}, {"q": LONG}, {"q": LONG})
    outcome = Outcome(rows)
    assert outcome.kept == [rows[3]]
    assert [outcome.reason(row) for row in rows[:3]] == ["missing_field", "no_text", "no_text"]


def test_a_text_of_5_mb_and_its_twin() -> None:
    words = [f"w{i}" for i in range(640_000)]
    long = " ".join(words)
    assert len(long) > 5_000_000 - 600_000
    outcome = Outcome(texts(long, LONG, long + " end"))
    assert [row.order for row in outcome.kept] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        (
            "価格は三百円ですが税金は別です",
            "価格は三百円ですが税金は別だ",
            "今日はとても良い天気です",
        ),
        (
            "هذا نص طويل بما يكفي للمقارنة بين صفين في المجموعة",
            "هذا نص طويل بما يكفي للمقارنة بين صفين في المجموعة!",
            "لا علاقة لهذا النص بالنص السابق على الإطلاق أبدا",
        ),
        ("cafe\u0301 au lait et croissant", "CAFÉ au lait, et croissant", "un thé noir sans sucre"),
    ],
)
def test_scripts_of_all_kinds(one: str, near: str, far: str) -> None:
    rows = texts(one, near, far)
    assert [row.order for row in Outcome(rows, threshold=0.6).kept] == [(0,), (2,)]


def test_words_in_scripts_without_spaces_and_lone_surrogates() -> None:
    assert [w.decode() for w in words_of("価格は3.5円")] == ["価", "格", "は", "3", "5", "円"]
    assert [w.decode() for w in words_of("สวัสดี")] == list("สวัสดี")
    assert words_of("a\ud800b c") == [b"a\xed\xa0\x80b", b"c"]
    assert [w.decode() for w in words_of("नमस्ते दुनिया")] == ["नमस्ते", "दुनिया"]


@pytest.mark.parametrize(
    "given",
    [{"field": None}, {"fields": ["a"]}, {"keep": "score"}, {"score": "s"}, {"threshold": 1.5}],
)
def test_settings_that_make_no_sense(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MinHashConfig.model_validate({"field": "q", **given})


# --- laws

vocabulary = st.sampled_from(["a", "b", "c", "d", "e"])
some_texts = st.lists(st.lists(vocabulary, max_size=6).map(" ".join), max_size=12)


@settings(deadline=None)
@given(some_texts, st.randoms(use_true_random=False))
def test_groups_part_the_rows_and_no_two_kept_are_alike(
    said: list[str], chance: random.Random
) -> None:
    rows = texts(*said)
    # So many short bands that every pair above the threshold is a candidate.
    how = {"threshold": 0.5, "words": 2, "recall": 0.999999, "hashes": 256}
    outcome = Outcome(rows, **how)
    kept = {row.id for row in outcome.kept}
    for one, other in itertools.combinations(outcome.kept, 2):
        assert jaccard(str(one.fields["q"]), str(other.fields["q"]), 2) < 0.5
    for row in rows:
        if row.id in outcome.gone:
            named = outcome.detail(row).split()[2]
            assert named in kept, "the one that is named lives"
    # Each group of the graph of alike pairs keeps exactly one.
    group = list(range(len(rows)))
    for i, j in itertools.combinations(range(len(rows)), 2):
        if jaccard(said[i], said[j], 2) >= 0.5:
            group = [group[i] if g == group[j] else g for g in group]
    assert len(kept) == len(set(group))
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert Outcome(shuffled, **how).kept == outcome.kept, "order of arrival is nothing"


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=8), st.integers(1, 5))
def test_shingles_of_many_texts_are_those_of_each(said: list[str], n: int) -> None:
    to_words = Words()
    words = to_words(said)
    for make in (runs_of, shingles_of):
        many = make(words, n)
        for text, start, end in zip(said, many.starts, many.ends, strict=True):
            assert (many.numbers[start:end] == make(to_words([text]), n).numbers).all()
    for text, count in zip(said, runs_of(words, n).lengths, strict=True):
        assert count == max(len(words_of(text)) - n + 1, 0)


@settings(deadline=None)
@given(some_texts, st.integers(1, 3))
def test_the_similarity_is_the_exact_one(said: list[str], n: int) -> None:
    with Path("shingles").open("w+b") as file:
        sets = ShingleSets(file)
        sets.read(enumerate(said), n, Signer(2, 2))
        pairs = np.array([*itertools.product(range(len(said)), repeat=2)], dtype=np.int64)
        found = sets.jaccard(pairs.reshape(-1, 2))
    expected = [jaccard(said[i], said[j], n) for i, j in pairs.reshape(-1, 2)]
    assert found == pytest.approx(expected)


# --- signatures


def pairs_of_sets(n: int, similarity: float, size: int) -> tuple[Runs, Runs, float]:
    """n pairs of random sets, and their Jaccard similarity, which is about as wished."""
    common = round(2 * size * similarity / (1 + similarity))
    chance = np.random.default_rng(7)
    numbers = chance.integers(0, 2**64, size=(n, 2 * size - common), dtype=np.uint64)
    ends = np.arange(1, n + 1, dtype=np.int64) * size
    one, other = numbers[:, :size], numbers[:, size - common :]
    return (
        Runs(one.ravel(), ends),
        Runs(other.ravel(), ends),
        common / (2 * size - common),
    )


@pytest.mark.parametrize("size", [10, 28, 150])
@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8])
def test_the_s_curve_is_its_formula(size: int, similarity: float, threshold: float) -> None:
    n = 4_000
    one, other, exact = pairs_of_sets(n, similarity, size)
    bands, rows = split_of(threshold, 128, 0.95)
    signer = Signer(bands, rows)
    found = (signer.keys(one) == signer.keys(other)).any(axis=1).mean()
    expected = s_curve(exact, bands, rows)
    # The seed is fixed; 4.5 standard errors are passed by chance in 1 of 150,000 tests.
    error = np.sqrt(max(expected * (1 - expected), 1 / n) / n)
    assert abs(found - expected) < 4.5 * error


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("hashes", [1, 64, 128])
def test_the_split_is_the_longest_bands_that_find_the_threshold(
    threshold: float, hashes: int
) -> None:
    bands, rows = split_of(threshold, hashes, 0.95)
    assert bands * rows <= hashes
    if rows > 1:
        assert s_curve(threshold, bands, rows) >= 0.95
    for longer in range(rows + 1, hashes + 1):
        assert s_curve(threshold, hashes // longer, longer) < 0.95


def test_signatures_are_those_of_datasketch() -> None:
    import datasketch

    sets = Words()(["a b c d", "a", "b b c"])
    signatures = Signer(16, 4, seed=3).signatures(sets)
    for column, (start, end) in enumerate(zip(sets.starts, sets.ends, strict=True)):
        theirs = datasketch.MinHash(64, seed=3, scheme="affine32", hashfunc=int)
        theirs.update_batch((sets.numbers[start:end] & np.uint64(0xFFFFFFFF)).tolist())
        assert (theirs.hashvalues == signatures[:, column]).all()
