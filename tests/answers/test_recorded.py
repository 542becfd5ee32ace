"""What recorded teachers answered, read and compared by type: figures of docs/recipes/rationale.md.

Each count is beside that of the `teacher_correct` that came with the data; where they differ, the
rows that do are named.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from synthkd.answers import AnswerSettings, canonical, read, same
from synthkd.answers.reading import READ

Rows = Sequence[Mapping[str, Any]]

GSM8K = AnswerSettings(type="number", cue=("\nA:",))
YES_NO = {"type": "label", "labels": ["Yes", "No"]}
BBH: Mapping[str, Mapping[str, Any]] = {
    "boolean_expressions": {"type": "label", "labels": ["True", "False"]},
    "causal_judgement": YES_NO,
    "dyck_languages": {"type": "text"},
    "formal_fallacies": {"type": "label", "labels": ["valid", "invalid"]},
    "multistep_arithmetic_two": {"type": "number"},
    "object_counting": {"type": "number"},
    "web_of_lies": YES_NO,
    "word_sorting": {"type": "list", "separator": " "},
}
"""By task; the others are choices whose texts stand in the question, so that letters are read."""


def rows_of(file: Path) -> Rows:
    from pyarrow import parquet

    rows: Rows = parquet.read_table(file).to_pylist()
    return rows


@pytest.fixture(scope="module")
def gsm8k(recorded_data: Path) -> Mapping[str, Rows]:
    by_teacher = defaultdict(list)
    for row in rows_of(recorded_data / "gsm8k" / "teacher_outputs_first660.parquet"):
        by_teacher[row["teacher"]].append(row)
    return by_teacher


@pytest.mark.parametrize(
    ("teacher", "right", "unread"),
    [
        ("GPT-3-6b-finetuning", 146, 3),
        ("GPT-3-6b-verification", 266, 0),
        ("GPT-3-175b-finetuning", 225, 4),
        ("GPT-3-175b-verification", 371, 0),
    ],
)
def test_gsm8k_in_words(gsm8k: Mapping[str, Rows], teacher: str, right: int, unread: int) -> None:
    readings = [(read(row["teacher_raw"], GSM8K), row) for row in gsm8k[teacher]]
    verdicts = [same(reading.answer, row["gold"], GSM8K) for reading, row in readings]
    assert verdicts == [row["teacher_correct"] for _, row in readings]
    assert (len(verdicts), sum(verdicts)) == (660, right)
    statuses = Counter(reading.status for reading, _ in readings)
    assert statuses == Counter(ok=660 - unread, no_cue=unread)


@pytest.mark.parametrize(
    ("teacher", "right", "no_number"),
    [("code-davinci-002-PoT-fewshot", 473, 0), ("code-davinci-002-PoT-zeroshot", 395, 9)],
)
def test_gsm8k_by_programs_that_were_run_when_they_were_recorded(
    gsm8k: Mapping[str, Rows], teacher: str, right: int, no_number: int
) -> None:
    rows = gsm8k[teacher]
    verdicts = [same(row["teacher_label"], row["gold"], GSM8K) for row in rows]
    assert verdicts == [row["teacher_correct"] for row in rows]
    assert (len(verdicts), sum(verdicts)) == (660, right)
    said = [row["teacher_label"] for row in rows if row["teacher_label"] is not None]
    assert sum(canonical(label, GSM8K) is None for label in said) == no_number  # "(160, 300)"


def test_every_gold_of_gsm8k_is_a_number(recorded_data: Path) -> None:
    golds = [row["gold"] for row in rows_of(recorded_data / "gsm8k" / "train.parquet")]
    assert None not in {canonical(gold, GSM8K) for gold in golds}


def test_bbh(recorded_data: Path) -> None:
    right: Counter[str] = Counter()
    unread: Counter[tuple[str, str]] = Counter()
    differing = []
    for row in rows_of(recorded_data / "bbh_codex" / "outputs_18tasks.parquet"):
        block = BBH.get(row["bbh_task"], {"type": "choice"})
        config = AnswerSettings(cue=("So the answer is",), **block)
        assert canonical(row["gold"], config) is not None
        if row["mode"] == "cot":
            reading = read(row["teacher_raw"], config)
            answer = reading.answer
            if reading.status not in READ:
                unread[row["mode"], reading.status] += 1
        else:
            answer = canonical(row["teacher_raw"], config)
            unread[row["mode"], "bad_label"] += answer is None
        verdict = same(answer, row["gold"], config)
        right[row["mode"]] += verdict
        if verdict != row["teacher_correct"]:
            differing.append(row["id"])
    assert right == {"cot": 3166, "direct": 2197}  # of 4,437 each
    assert f"{3166 / 4437:.1%} {2197 / 4437:.1%}" == "71.4% 49.5%"
    assert differing == []
    assert unread == {
        ("cot", "no_cue"): 233,
        ("cot", "several_answers"): 18,  # "(A) or (D)": 4 times the first one is gold
        ("cot", "bad_label"): 3,
        ("direct", "bad_label"): 3,
    }


@pytest.mark.parametrize(
    ("run", "right", "none"),
    [
        ("aqua_zs_s0_e-1_11_19_11_56", 96, 87),
        ("aqua_s0_e-1_11_06_18_38", 137, 0),
        ("aqua_gpt4_s0_e-1_03_31_22_24", 107, 113),
        ("aqua_sc_s0_e-1_11_07_20_49", 147, 11),
    ],
)
def test_aqua(recorded_data: Path, run: str, right: int, none: int) -> None:
    """Predictions are letters, options begin with theirs: "A)$61"."""
    config = AnswerSettings(type="choice")
    counts: Counter[str] = Counter()
    for row in rows_of(recorded_data / "pot_math" / "aqua.parquet"):
        if row["run"] != run:
            continue
        options = json.loads(row["options"])
        gold = canonical(row["gold"], config, options)
        assert gold in options
        counts["rows"] += 1
        counts["none"] += canonical(row["prediction"], config, options) is None
        verdict = same(row["prediction"], gold, config, options)
        counts["right"] += verdict
        counts["otherwise"] += verdict != (row["prediction"] == row["gold"])
    assert counts == Counter(rows=253, right=right, none=none, otherwise=0)


@pytest.mark.parametrize(
    ("file", "marker", "right"),
    [("dss_cqa/train.parquet", "\n\nQ:", 7_388), ("dss_anli1/valid.parquet", "\nPremise:", 674)],
)
def test_every_label_is_that_of_the_data(
    recorded_data: Path, file: str, marker: str, right: int
) -> None:
    config = AnswerSettings(type="choice", cue=("So the answer is",), stop_at=(marker,))
    rows = rows_of(recorded_data / file)
    said = [read(row["teacher_raw"], config, choices=row["choices"]).answer for row in rows]
    assert said == [row["teacher_label"] for row in rows]
    golds = [canonical(row["gold"], config, row["choices"]) for row in rows]
    assert sum(one == gold for one, gold in zip(said, golds, strict=True)) == right
