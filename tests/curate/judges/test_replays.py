"""Published judgements, replayed: the figures must come out to the last digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.curate.judges.replays import llmbar, pandalm, replay


@pytest.mark.parametrize(
    ("judge", "right", "read"), [(1, 697, 974), (2, 667, 999)], ids=["gpt-3.5", "PandaLM-7B"]
)
def test_pandalm_against_the_majority_of_its_people(
    judge: int, right: int, read: int, recorded_data: Path, tmp_path: Path
) -> None:
    """0.698 and 0.668: labels as replies, because the raw texts are not published."""
    found = replay(pandalm(recorded_data, judge), tmp_path, orders="as_is")
    assert len(found.pairs) == 999
    assert len(found.judged) == read
    assert found.accuracy == right / 999


@pytest.mark.parametrize(
    ("subset", "judge", "strategy", "accuracy", "consistency"),
    [
        ("MT-Bench", "GPT-4", "Vanilla_NoRules", 0.81, 0.87),
        ("MT-Bench", "GPT-4", "Metrics_Reference", 0.81, 0.84),
        ("MT-Bench", "ChatGPT", "Vanilla_NoRules", 0.7125, 0.575),
        ("MT-Bench", "LLaMA2", "Metrics_Reference", 0.7225, 0.705),
    ],
)
def test_llmbar_from_the_raw_texts_of_both_orders(
    subset: str,
    judge: str,
    strategy: str,
    accuracy: float,
    consistency: float,
    recorded_data: Path,
    tmp_path: Path,
) -> None:
    found = replay(llmbar(recorded_data, subset, judge, strategy), tmp_path)
    assert found.single_accuracy == pytest.approx(accuracy, abs=1e-9)
    assert found.consistency == pytest.approx(consistency, abs=1e-9)
