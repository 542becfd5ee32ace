"""decontaminate: which rows hold a test item, how it is named, and what becomes of bad input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate import decontaminate as module
from synthkd.curate.decontaminate import DecontaminateConfig, decontaminate, verdict_of
from synthkd.curate.nearest import nearest
from synthkd.curate.ngrams import NgramIndex, Rules
from synthkd.curate.shingles import words_of
from synthkd.desk import Desk
from synthkd.errors import RowError, SourceError
from synthkd.io.spool import RowSpool, Table
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, Row, source_row
from synthkd.table_kit import TableKit

ITEM = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes"
    " muffins for her friends every day with four. How much does she make every day?"
)
CODE = 'def add(a: int, b: int):\n    """Add two numbers.\n\n    >>> add(2, 3)\n    5\n    """\n'
OTHER = "A pilot flies from one town to another and counts the rivers that she sees on her way."


def rows_of(*said: Json) -> list[Row]:
    return [source_row("rows", [i], ordinal=i, fields={"q": q}) for i, q in enumerate(said)]


def benchmark(path: Path, *items: object, field: str = "question") -> dict[str, str]:
    path.write_bytes(b"\n".join(orjson.dumps({field: item}) for item in items))
    return {"jsonl": str(path), "field": field}


class Outcome:
    def __init__(self, rows: Sequence[Row], *files: dict[str, str], **given: object) -> None:
        self.kit = TableKit(Desk(step="decontaminate"))
        config = DecontaminateConfig.model_validate({"field": "q", "benchmarks": files, **given})
        with RowSpool.of(Path("rows.spool"), rows) as spool:
            self.kept = list(decontaminate(Table(spool), self.kit, config))
        self.gone = {row.order[0]: why for row, why in self.kit.take_gone()}
        self.figures: dict[str, Any] = self.kit.figures
        assert len(self.kept) + len(self.gone) == len(rows)


def test_the_item_is_named_with_how_it_was_found(tmp_path: Path) -> None:
    file = benchmark(tmp_path / "gsm.jsonl", OTHER, ITEM)
    rows = rows_of("Tell me: " + ITEM.upper().replace(".", " !"), "something else", ITEM[:85])
    outcome = Outcome(rows, file)
    assert outcome.kept == [rows[1]]
    assert str(outcome.gone[0]) == ("contaminated: gsm.jsonl row 2: 1.00 of its runs of 8 words")
    assert "gsm.jsonl row 2: a run of 13 words: 'janet s ducks lay 16" in str(outcome.gone[2])
    assert outcome.figures["benchmarks"] == {"gsm.jsonl": {"items": 2, "items_found": 1, "rows": 2}}
    assert outcome.figures["rules"] == {"any": 1, "share": 1}


@pytest.mark.parametrize("content", [b"q\ncaf\xe9\n", b"a,q\n"], ids=["Latin-1", "no records"])
def test_a_benchmark_without_any_text_is_said_to_have_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.csv").write_bytes(content)
    with pytest.raises(SourceError, match=r"benchmark b\.csv: no record has text in q"):
        Outcome(rows_of(ITEM), {"csv": str(tmp_path / "b.csv"), "field": "q"})


def test_flagging_keeps_every_row_and_says_what_was_found(tmp_path: Path) -> None:
    file = benchmark(tmp_path / "gsm.jsonl", ITEM)
    dirty, clean = Outcome(rows_of(ITEM, "else"), file, action="flag").kept
    assert clean.fields["contamination"] is None
    finding = dirty.fields["contamination"]
    assert isinstance(finding, dict)
    assert finding == {
        "benchmark": "gsm.jsonl",
        "row": 1,
        "rule": "share",
        "how": "1.00 of its runs of 8 words",
    }


def test_several_benchmarks_are_counted_apart_and_code_is_text_too(tmp_path: Path) -> None:
    gsm = benchmark(tmp_path / "gsm.jsonl", ITEM, OTHER)
    code = benchmark(tmp_path / "code.jsonl", CODE, field="prompt")
    rows = rows_of(f"Complete this:\n```python\n{CODE}```", ITEM, "print('hello')")
    outcome = Outcome(rows, gsm, code)
    assert outcome.kept == rows[2:]
    assert "code.jsonl row 1" in str(outcome.gone[0])
    counts = {name: found["rows"] for name, found in outcome.figures["benchmarks"].items()}
    assert counts == {"gsm.jsonl": 1, "code.jsonl": 1}


def test_a_short_item_must_stand_in_the_row_whole(tmp_path: Path) -> None:
    file = benchmark(tmp_path / "short.jsonl", "Who wrote the Iliad, please?", "Too short")
    rows = rows_of("Say: who wrote THE Iliad, please!", "who wrote the iliad", "this is too short")
    outcome = Outcome(rows, file)
    assert outcome.kept == rows[1:]
    assert "it stands in the row: 'who wrote the iliad please'" in str(outcome.gone[0])
    assert outcome.figures["items_under_5_words"] == 1


def test_phrases_of_the_benchmark_count_for_nothing(tmp_path: Path) -> None:
    preamble = "Answer the following question with one word and then explain your answer at length"
    items = [f"{preamble} {name}" for name in ("rivers", "lakes", "hills", "woods", "roads")]
    file = benchmark(tmp_path / "b.jsonl", *items)
    row = rows_of(f"{preamble} of all things, horses")
    assert Outcome(row, file).kept == row
    assert Outcome(row, file, common_items=10).kept == []


def test_phrases_of_the_language_do_not_count_for_any_but_copies_are_found(tmp_path: Path) -> None:
    phrase = "in the beginning of the year of which we speak there was not a single one"
    item = f"{phrase} and {ITEM} {OTHER}"
    file = benchmark(tmp_path / "b.jsonl", item)
    rows = rows_of(*(f"number {n} says {phrase} on page {n}" for n in range(12)))
    assert Outcome(rows, file).kept == rows, "12 rows share it"
    assert Outcome(rows[:10], file).kept == [], "10 rows are not many"
    copies = rows_of(*[item] * 50)
    assert Outcome(copies, file).kept == [], "what was copied often is found each time"


def test_an_item_that_the_benchmark_has_many_times_is_one_item(tmp_path: Path) -> None:
    file = benchmark(tmp_path / "b.jsonl", *[ITEM] * 9)
    assert Outcome(rows_of(ITEM), file).kept == []


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_benchmark_without_the_field_names_those_there_are(tmp_path: Path, suffix: str) -> None:
    import pandas as pd

    path = tmp_path / f"b.{suffix}"
    frame = pd.DataFrame({"query": ["x"], "answer": ["y"]})
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    said = rf"b.{suffix} has no field 'question'; its fields are: query, answer"
    with pytest.raises(SourceError, match=said):
        Outcome(rows_of("x"), {suffix: str(path), "field": "question"})


def test_rows_and_items_of_all_kinds(tmp_path: Path) -> None:
    cjk = "价格是三百元但是不含税所以一共要付三百三十元请问对吗"
    arabic = "هذا نص طويل بما يكفي للمقارنة بين صفين في المجموعة الأولى من البيانات"
    file = benchmark(tmp_path / "b.jsonl", cjk, arabic, "", None, 7)
    long = "x " * 2_500_000
    rows = rows_of("", None, 7, "问题: " + cjk, arabic + "؟", "a\ufffdb", long)
    outcome = Outcome(rows, file)
    assert [row.order[0] for row in outcome.kept] == [0, 5, 6]
    reasons = {place: str(why).split(":")[0] for place, why in outcome.gone.items()}
    assert reasons == {1: "no_text", 2: "no_text", 3: "contaminated", 4: "contaminated"}
    assert outcome.figures["items_without_text"] == 2


@pytest.mark.parametrize("n", [0, 1, 300])
def test_few_rows_and_all_rows_equal(tmp_path: Path, n: int) -> None:
    file = benchmark(tmp_path / "b.jsonl", ITEM)
    assert Outcome(rows_of(*[ITEM] * n), file).kept == []
    rows = rows_of(*[OTHER] * n)
    assert Outcome(rows, file).kept == rows


def test_an_empty_benchmark_says_so(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"")
    with pytest.raises(SourceError, match="its fields are: none, it is empty"):
        Outcome(rows_of("x"), {"jsonl": str(tmp_path / "b.jsonl"), "field": "q"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"field": None}, "exactly one of field, fields"),
        ({"teacher": "judge", "nearest": None}, "leave `nearest` on"),
        ({"nearest": {"embed": {"kind": "tfidf"}}}, "those of tfidf are others: add `threshold`"),
        ({"benchmarks": []}, "at least 1"),
        ({"benchmarks": [{"jsonl": "a", "field": "q"}] * 2}, "called the same"),
        ({"benchmarks": [{"field": "q"}]}, "exactly one of jsonl, csv, parquet"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, object], said: str) -> None:
    known = {"field": "q", "benchmarks": [{"jsonl": "b.jsonl", "field": "q"}]}
    with pytest.raises(ValidationError, match=said):
        DecontaminateConfig.model_validate({**known, **given})


# --- by vectors, and by a teacher


NEAR = "Sixteen eggs are laid by Janet's ducks per day; she eats three for breakfast each day"


@pytest.mark.parametrize("embed", [{"kind": "terms"}, {"kind": "tfidf", "dimensions": 512}])
def test_the_nearest_item_by_vectors(tmp_path: Path, embed: dict[str, object]) -> None:
    file = benchmark(tmp_path / "b.jsonl", "short", ITEM, OTHER)
    rows = rows_of(NEAR, "a bicycle with two wheels", "")
    near = {"embed": embed, "threshold": 0.3, "least_words": 10}
    outcome = Outcome(rows, file, nearest=near)
    assert outcome.kept == rows[1:]
    assert "b.jsonl row 2: cosine 0." in str(outcome.gone[0])
    assert outcome.figures["items_near"] == 2


def test_other_words_are_found_unless_it_is_switched_off(tmp_path: Path) -> None:
    again = (
        "The ducks of Janet lay 16 eggs in a day. For breakfast she eats three of them, and with"
        " four she bakes muffins for friends. How much a day does she make?"
    )
    file = benchmark(tmp_path / "b.jsonl", ITEM, OTHER)
    filler = [f"{OTHER[:-1]} with number {n}" for n in range(30)]
    outcome = Outcome(rows_of(again, *filler[:1]), file, any_words=None, share=1)
    assert "b.jsonl row 1: cosine 0." in str(outcome.gone[0])
    kept = Outcome(rows_of(again), file, nearest=None).kept
    assert len(kept) == 1


def test_short_items_are_not_looked_for_by_their_words(tmp_path: Path) -> None:
    file = benchmark(tmp_path / "b.jsonl", "Where is the card that I ordered?")
    rows = rows_of("Where is that card I ordered, the new one?")
    outcome = Outcome(rows, file)
    assert outcome.kept == rows
    assert outcome.figures["items_near"] == 0
    assert Outcome(rows, file, nearest={"least_words": 5}).kept == []


def test_a_vector_that_is_not_finite_fails_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthkd.curate.embed import Vectors

    class Broken:
        def vectors(self, texts: Sequence[str]) -> Vectors:
            values = np.zeros((len(texts), 2), dtype=np.float32)
            values[1:] = (1, 0)
            return Vectors(values=values, errors={0: RowError("the vector is not finite")})

    monkeypatch.setattr(module, "open_embedder", lambda *_, **__: Broken())
    near = {"embed": {"kind": "tfidf"}, "threshold": 0.75}
    outcome = Outcome(rows_of("one", "two"), benchmark(tmp_path / "b.jsonl", ITEM), nearest=near)
    assert {place: str(why) for place, why in outcome.gone.items()} == {
        0: "the vector is not finite",
        1: "contaminated: b.jsonl row 1: cosine 1.000",
    }


async def test_a_teacher_has_the_last_word_on_those_that_are_near(tmp_path: Path) -> None:
    near = [ITEM.replace(name, other) for name, other in (("16", "20"), ("Janet", "Anna"))]
    near = [text.replace(" every ", " each and every ").replace("eats", "takes") for text in near]
    odd = near[0].replace("ducks", "hens")
    questions = [*near, odd, "a bicycle with two wheels"]
    lines = [{"q": q} for q in questions]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    benchmark(tmp_path / "b.jsonl", ITEM, OTHER)
    said = zip(questions, ["Yes.", "no, the names differ", "perhaps"], strict=False)
    verdicts = [{"item": ITEM, "row": row, "answer": answer} for row, answer in said]
    (tmp_path / "verdicts.jsonl").write_bytes(b"\n".join(map(orjson.dumps, verdicts)))
    (tmp_path / "p.yaml").write_text(
        """
name: p
source: {jsonl: rows.jsonl}
teachers:
  judge: {recorded: {jsonl: verdicts.jsonl, match: [item, row], text: answer}}
steps:
  - use: decontaminate
    with:
      field: q
      benchmarks: [{jsonl: b.jsonl, field: question}]
      any_words: null
      share: 1
      nearest: {threshold: 0.3}
      teacher: judge
""",
        encoding="utf-8",
    )
    manifest = await Pipeline.load(tmp_path / "p.yaml", out=tmp_path / "out").run()
    figures = manifest.figures["decontaminate"]
    assert figures["asked"] == 3
    assert figures["rules"] == {"asked": 1}
    assert (manifest.counts.kept, manifest.counts.rejected, manifest.counts.failed) == (2, 2, 0)
    reasons = manifest.funnel["decontaminate"].reasons
    assert reasons == {"contaminated": 1, "unreadable_verdict": 1}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Yes.", True), ("**no**", False), ("NO\nbecause", False), ("", None), ("maybe", None)],
)
def test_verdicts(answer: str, verdict: bool | None) -> None:
    assert verdict_of(answer) is verdict


def test_the_nearest_of_none_is_none() -> None:
    many = np.ones((3, 2), dtype=np.float32)
    place, cosine = nearest(many, np.zeros((0, 2), dtype=np.float32))
    assert (place == 0).all()
    assert (cosine == -1).all()


# --- laws

words = st.sampled_from("abcd")
a_text = st.lists(words, max_size=12).map(" ".join)


def runs(text: str, n: int) -> set[tuple[bytes, ...]]:
    said = words_of(text)
    return {tuple(said[i : i + n]) for i in range(len(said) - n + 1)}


@settings(deadline=None)
@given(st.lists(a_text, min_size=1, max_size=5), st.lists(a_text, max_size=6))
def test_the_index_finds_what_the_rules_say(items: list[str], texts: list[str]) -> None:
    rules = Rules(
        any_words=4, share_words=3, share=0.6, least_words=2, common_items=9, common_rows=2
    )
    index = NgramIndex(items, rules)
    maybe = index.count(texts)
    in_rows = {
        run: sum(run in runs(text, 4) for text in texts) for item in items for run in runs(item, 4)
    }
    for text, suspect, match in zip(texts, maybe, index.judge(texts), strict=True):
        held = []
        for item in items:
            n = len(words_of(item))
            if n == 2:
                held.append(bool(runs(item, 2) & runs(text, 2)))
            share = runs(item, 3)
            held.append(bool(share) and len(share & runs(text, 3)) / len(share) >= 0.6)
            held.append(any(in_rows[run] <= 2 for run in runs(item, 4) & runs(text, 4)))
        assert (match is not None) == any(held)
        assert suspect or match is None
