from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.answers import AnswerSettings
from synthkd.config.pipeline import EvaluateConfig, MetricName
from synthkd.errors import UserError
from synthkd.evaluate import metrics
from synthkd.evaluate.metrics import METRICS, check_gold, metrics_of, missing_libraries
from synthkd.evaluate.scored import Scored
from synthkd.graphs.notation import write_graph
from synthkd.graphs.triple import Triple
from synthkd.rows import Json

labels = st.sampled_from(["a", "b", "c"])
answers = st.one_of(st.none(), labels, st.just("never in gold"))
pairs = st.lists(st.tuples(labels, answers), min_size=1, max_size=30)


def scored(metric: str, gold: list[Json], said: list[Json]) -> Scored:
    return METRICS[metric].score(gold, said)


def value(metric: str, gold: list[Json], said: list[Json]) -> float:
    return scored(metric, gold, said).value


def test_the_pipeline_file_takes_every_metric_and_no_other() -> None:
    assert set(get_args(MetricName)) == set(METRICS)


@given(pairs)
def test_labels_same_as_scikit_learn(rows: list[tuple[str, str | None]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    gold, said = [g for g, _ in rows], [a for _, a in rows]
    stated = [a or "no answer" for a in said]
    expected = f1_score(gold, stated, labels=sorted(set(gold)), average="macro", zero_division=0)
    assert value("accuracy", [*gold], [*said]) == pytest.approx(accuracy_score(gold, stated))
    assert value("macro_f1", [*gold], [*said]) == pytest.approx(expected)


def test_no_answer_is_wrong_even_where_gold_is_empty_text() -> None:
    assert value("accuracy", ["", "x"], [None, "x"]) == 0.5


def example(metric: str) -> tuple[list[Json], list[Json]]:
    """Six rows that the metric fits, some of them answered well."""
    if metric == "span_f1":
        one: Json = [{"start": 0, "end": 3, "label": "drug"}]
        two: Json = [{"start": 0, "end": 3, "label": "drug"}, {"start": 5, "end": 9, "label": "x"}]
        return [one, two, [], one, two, []], [one, one, one, "nonsense", two, None]
    if metric == "mention_f1":
        ada: Json = [{"type": "person", "mentions": ["Ada"]}, {"type": "city", "mentions": []}]
        said: Json = [{"text": "Ada", "type": "person"}]
        return [ada, ada, [], ada, [], ada], [said, None, said, "[]", [], '["Ada"]']
    if metric == "triple_f1":
        triple: Json = [["Oslo", "capital of", "Norway"]]
        return [triple, triple, [], triple, [], triple], [triple, None, triple, [], [], triple]
    if metric.startswith("record_"):
        bill: Json = {"no": "A-1", "total": 5, "lines": [{"item": "hook", "pieces": 3}]}
        return [bill] * 6, [bill, None, {"no": "A 1", "total": 6}, "{}", bill, '{"total": "5.0"}']
    if metric == "numeric_match":
        return [1, 2, 3, 4, 5, 6], ["1.0", 2, "four", None, 5.1, "$6"]
    texts: list[Json] = ["the cat sat", "a dog", "the cat sat", "a dog", "the end", "a dog"]
    return texts, ["the cat", "a dog", None, "the cat sat", "the end", "A dog."]


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_a_draw_is_the_metric_of_the_drawn_rows(metric: str) -> None:
    gold, said = example(metric)
    whole = scored(metric, gold, said)
    assert 0 < whole.value < 1
    for seed in range(5):
        drawn = np.random.default_rng(seed).integers(0, 6, 6)
        weights = np.append(np.bincount(drawn, minlength=6), [0, 0])[None, :].astype(float)
        again = scored(metric, [gold[i] for i in drawn], [said[i] for i in drawn])
        assert whole.at(weights)[0] == pytest.approx(again.value)
    if whole.rows is not None:
        assert whole.value == pytest.approx(whole.rows.mean())


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_gold_itself_is_perfect_silence_is_nothing_and_made_up_rows_are_the_extremes(
    metric: str,
) -> None:
    gold, said = example(metric)
    silence: list[Json] = [None] * 6
    assert value(metric, gold, gold) == pytest.approx(1)
    assert value(metric, gold, silence) == 0
    weights = np.ones((2, 8))
    weights[0, -1] = weights[1, -2] = 0  # the worst row is added to the first, the best to the last
    worse, better = scored(metric, gold, said).at(weights)
    assert worse < value(metric, gold, said) < better


def test_exact_match_sees_what_accuracy_does_not() -> None:
    gold: list[Json] = ["Order_status", "x", 3, [1, 2]]
    said: list[Json] = ["order status", " x\n", "3", [1, 2]]
    assert value("exact_match", gold, said) == 0.75
    assert value("accuracy", gold[:3], said[:3]) == 1


@pytest.mark.parametrize(
    ("gold", "said", "right"),
    [
        (1200, "$1,200.00.", True),
        ("0.5", ".5", True),
        (1e9, 1e9 + 100, True),  # a millionth of it
        (1e9, 1e9 + 10_000, False),
        (0, 1e-7, True),
        (3, "three", False),
        (3, "3 apples", True),
        (3, "3 or 4", False),
        ("1/3", 0.33333333, True),
        (3, "1e400", False),
        (1, True, False),
        (1, "nan", False),
        (1, [1], False),
    ],
)
def test_numbers_match_within_the_tolerance(gold: Json, said: Json, right: bool) -> None:
    assert value("numeric_match", [gold], [said]) == right


def test_answers_match_by_their_type() -> None:
    config = AnswerSettings.model_validate({"type": "equation", "cue": ["A:"]})
    match = metrics_of(["answer_match"], tolerance=0, answer=config)["answer_match"]
    gold: list[Json] = ["(8 - 3)", 5, "1/3", "5", "5"]
    said: list[Json] = ["5", "Eight less three.\nA: 8 - 3", "0.33333333", "A: 6", None]
    assert match.score(gold, said).value == pytest.approx(0.6)
    with pytest.raises(UserError, match=r"answer_match needs .* \(equation\) in gold, but row 1"):
        check_gold(["answer_match"], "8 / 0", place="row 1", answer=config)
    with pytest.raises(ValidationError, match="choices of each row are not known"):
        EvaluateConfig.model_validate({"answer": {"choices": "options"}})


def test_the_tolerance_can_be_set() -> None:
    wide = metrics_of(["numeric_match"], tolerance=0.1)["numeric_match"]
    assert wide.score([100], [109]).value == 1
    assert wide.score([100], [111]).value == 0


def test_spans_are_strict_and_may_be_json_as_a_student_writes_it() -> None:
    gold: list[Json] = [
        {"start": 0, "end": 3, "label": "drug"},
        {"start": 5, "end": 9, "label": "event"},
    ]
    said = '[{"start": 0, "end": 3, "type": "drug"}, {"start": 5, "end": 8, "label": "event"}]'
    assert value("span_f1", [gold], [said]) == 0.5
    assert value("span_f1", [gold], [[*gold, *gold]]) == 1  # twice named counts once


def test_triples_are_compared_part_by_part_as_answers_are() -> None:
    gold: Json = '[["Aarhus_Airport", "cityServed", "Aarhus"], ["a", "b", "c"]]'
    said: Json = [{"head": "Aarhus airport", "relation": "cityserved", "tail": "Aarhus."}]
    assert value("triple_f1", [gold], [said]) == pytest.approx(2 / 3)
    assert value("triple_f1", [gold], [[["a", "b"]]]) == 0


def test_triples_are_read_as_students_write_them() -> None:
    facts = [Triple("Ada", "born in", "London"), Triple("Ada", "wrote", "Notes, A to G")]
    gold: Json = [list(fact.parts) for fact in facts]
    said = write_graph([(None, facts)])
    assert value("triple_f1", [gold], [said]) == 1
    assert value("triple_f1", [gold], [said[:-5]]) == pytest.approx(2 / 3)  # cut: one line less
    assert value("triple_f1", [gold], [write_graph([("Ada wrote.", facts)])]) == 1
    assert value("triple_f1", [gold], ["There is nothing."]) == 0


@pytest.mark.parametrize(
    ("gold", "said", "figure"),
    [
        (["Ada Lovelace", "C++"], 'Sure: ["ada lovelace", "the C++!"] and so on', 1),
        (["A [b]"], '["A [b]"]', 1),  # a bracket inside of a mention does not end the list
        (["Ada"], '["Ada", "Ada."]', 1),  # twice named counts once
        (["Ada", "+"], '["Ada", "-"]', 0.5),
        ([{"type": "a", "mentions": ["x"]}], [{"text": "x", "type": "b"}], 0),
        ([{"type": "Big_city", "mentions": ["x"]}], [{"text": "X", "type": "big city"}], 1),
        (["Ada"], '["Ada', 0),
        (["Ada"], "Ada", 0),
        (["Ada"], [3], 0),
    ],
)
def test_mentions_are_compared_as_text_by_question(gold: Json, said: Json, figure: float) -> None:
    assert value("mention_f1", [gold], [said]) == figure


@given(st.lists(st.sampled_from(["the", "cat", "A", "12", "x.y"]), max_size=8).map(" ".join))
def test_rouge_is_that_of_the_library_on_ascii(text: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    gold = "The cat: a 12 x"
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(gold, text)
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        assert value(ours, [gold], [text]) == pytest.approx(expected[theirs].fmeasure)


def test_rouge_reads_other_scripts() -> None:
    assert value("rouge_1", ["Привет мир"], ["привет друг"]) == 0.5


def test_libraries_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_libraries([*METRICS]) == []
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert missing_libraries([*METRICS]) == ["rouge_score", "sacrebleu"]
    assert missing_libraries(["accuracy"]) == []


@pytest.mark.parametrize(
    ("metric", "gold", "wants"),
    [
        ("numeric_match", "twelve", "a number"),
        ("span_f1", "no spans", "a list of {start, end, label}"),
        ("span_f1", [{"start": 1}], "a list of {start, end, label}"),
        ("triple_f1", [["a", "b"]], "a list of [subject, predicate, object]"),
        ("mention_f1", {"person": ["Ada"]}, "a list of mentions, or of {type, mentions}"),
        ("rouge_l", ["a"], "a text or a number"),
        ("accuracy", {}, "a text or a number"),
    ],
)
def test_a_metric_that_does_not_fit_says_so_and_where(metric: str, gold: Json, wants: str) -> None:
    with pytest.raises(UserError) as caught:
        check_gold([metric], gold, place="row 7")
    assert f"{metric} needs {wants} in gold, but row 7 has {gold!r}" in str(caught.value)
