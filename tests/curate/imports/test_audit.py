"""import.audit: dumps that are shuffled, shifted, of another shard or made from gold are told."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate.imports.alignment import alignment, best_shift, dealt
from synthkd.errors import UserError
from tests.curate.imports.tables import Outcome

Pairs = list[tuple[str, str]]
"""(answer, gold) of each row."""


def dump(n: int, right: float = 0.75, labels: int = 3, seed: int = 0) -> Pairs:
    """A teacher of known accuracy on balanced labels."""
    rng = random.Random(seed)
    gold = [rng.randrange(labels) for _ in range(n)]
    said = [g if rng.random() < right else (g + rng.randrange(1, labels)) % labels for g in gold]
    return [(f"label {s}", f"label {g}") for s, g in zip(said, gold, strict=True)]


def moved(pairs: Pairs, by: int) -> Pairs:
    """The answers, so many rows too late; the first ones are of nothing."""
    said = ["label 9"] * by + [answer for answer, _ in pairs]
    return [(answer, gold) for answer, (_, gold) in zip(said, pairs, strict=False)]


def shuffled(pairs: Pairs) -> Pairs:
    said = [answer for answer, _ in pairs]
    random.Random(1).shuffle(said)
    return list(zip(said, [gold for _, gold in pairs], strict=True))


def audited(pairs: Pairs, **settings: Any) -> Outcome:
    fields = [{"said": answer or None, "gold": gold or None} for answer, gold in pairs]
    return Outcome("import.audit", {"gold": "gold", "field": "said", **settings}, fields)


def alarm(pairs: Pairs, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        audited(pairs, **settings)
    return str(caught.value)


def test_an_aligned_dump_passes_as_it_is() -> None:
    outcome = audited(dump(2000))
    assert outcome.rows == outcome.given
    figures = outcome.kit.figures
    assert figures["verdict"] == "aligned"
    assert figures["agreement with gold"] == pytest.approx(0.75, abs=0.03)
    assert figures["agreement by chance"] == pytest.approx(1 / 3, abs=0.02)


def test_a_shuffled_dump_is_told_by_the_marginals() -> None:
    told = alarm(shuffled(dump(600)))
    assert "the dump is misaligned" in told
    assert "of 600 answers" in told
    assert "if the answers were dealt out at random" in told
    assert "of another split, shuffled" in told


@pytest.mark.parametrize("labels", [3, 50])
def test_a_shifted_dump_is_told_where_it_would_fit(labels: int) -> None:
    # Shift k means: the answer at row i is one to row i - k.
    told = alarm(moved(dump(900, labels=labels), 7))
    assert "7 rows earlier they would agree in 7" in told


def test_one_shard_of_something_else_is_told_by_its_rows() -> None:
    pairs = dump(3000)
    pairs[1000:1500] = shuffled(pairs[1000:1500])
    told = alarm(pairs)
    assert "misaligned in part: of the rows 1,001 to 1,500" in told
    assert audited(pairs, block=3000).kit.figures["verdict"] == "aligned"


def test_a_row_that_is_missing_in_the_middle_is_told() -> None:
    pairs = dump(2400, labels=20)
    pairs[1200:] = moved(pairs[1200:], 1)
    assert "misaligned in part: of the rows 1,501 to 2,000" in alarm(pairs, block=500)


def test_gold_in_view_is_told_and_can_be_allowed() -> None:
    told = alarm(dump(800, right=1))
    assert "the dump is leaked: 800 of 800 answers (100.0%) agree with gold" in told
    assert audited(dump(800, right=1), leak_above=1).kit.figures["verdict"] == "aligned"
    assert audited(dump(800, right=0.98)).kit.figures["verdict"] == "aligned"
    # 200 right ones in a row are no wonder of a teacher that is right in 99 %.
    assert audited(dump(200, right=1)).kit.figures["verdict"] == "aligned"


def test_too_few_rows_say_nothing() -> None:
    told = audited(shuffled(dump(29))).kit.figures["verdict"]
    assert told == "too few rows to tell, at least 30 are needed"
    nothing = audited([("", "label 1")] * 50 + [("label 1", "")] * 50)
    assert nothing.kit.figures["rows with answer and gold"] == 0


def test_a_weak_teacher_on_few_rows_is_no_alarm() -> None:
    """Seven of twelve random dumps of this kind are not better than chance; none is an alarm."""
    verdicts = [
        str(audited(dump(60, right=0.6, labels=2, seed=seed)).kit.figures["verdict"])
        for seed in range(12)
    ]
    assert sum(told.startswith("cannot tell") for told in verdicts) > 3
    assert {told.partition(":")[0] for told in verdicts} == {"cannot tell", "aligned"}


def test_an_alarm_may_be_noted_alone() -> None:
    outcome = audited(shuffled(dump(600)), on_alarm="note")
    assert len(outcome.rows) == 600
    assert outcome.kit.figures["verdict"] == "misaligned"
    assert "dealt out" in str(outcome.kit.figures["alarm"])


def test_letters_of_other_questions_are_no_agreement() -> None:
    """Read by its letter, an answer is always one of the row's own choices: a fifth agree."""
    rng = random.Random(3)
    rows: list[dict[str, Any]] = []
    for number in range(600):
        choices = [f"choice {number} {letter}" for letter in "abcde"]
        pool = [{"teacher": "t", "answer": rng.choice(choices)}]
        rows.append({"candidates": pool, "choices": choices, "gold": rng.choice(choices)})
    by_place = {"gold": "gold", "answer": {"choices": "choices"}}
    with pytest.raises(UserError, match=r"the dump is misaligned: .* and (19|20)\.\d% would"):
        Outcome("import.audit", by_place, rows)
    by_text = Outcome("import.audit", {"gold": "gold"}, rows)
    assert by_text.kit.figures["verdict"] == "aligned"  # so the choices must be named


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abd")), min_size=2, max_size=5))
@settings(max_examples=40)
def test_mean_and_variance_are_those_of_all_deals(pairs: Pairs) -> None:
    import itertools
    import statistics

    said, gold = [one for one, _ in pairs], [other for _, other in pairs]
    counts = [
        sum(a == g for a, g in zip(deal, gold, strict=True))
        for deal in itertools.permutations(said)
    ]
    mean, sd = dealt(said, gold)
    assert mean == pytest.approx(statistics.fmean(counts))
    assert sd == pytest.approx(statistics.pstdev(counts), abs=1e-7)


@pytest.mark.parametrize("name", ["dss_cqa/train", "dss_anli1/valid"])
def test_the_recorded_dumps_are_aligned_and_shuffled_ones_are_not(
    recorded_data: Path, name: str
) -> None:
    columns = ["teacher_label", "gold", "choices"]
    table = pq.read_table(recorded_data / f"{name}.parquet", columns=columns).slice(0, 3000)
    places = [
        (str(row["choices"].index(row["teacher_label"])), str(row["choices"].index(row["gold"])))
        for row in table.to_pylist()
        if row["teacher_label"] in row["choices"] and row["gold"] in row["choices"]
    ]
    assert audited(places).kit.figures["verdict"] == "aligned"
    assert "misaligned" in alarm(shuffled(places))
    assert "rows earlier they would agree" in alarm(moved(places, 40))


def test_shift_and_alignment_of_nothing() -> None:
    assert best_shift([], []) is None
    assert best_shift(["a"], ["a"]) is None
    found = alignment([], [], random.Random(0))
    assert (found.n, found.agreement, found.p_chance) == (0, 0.0, 1.0)
