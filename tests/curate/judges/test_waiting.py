"""An answer that is under way in a batch is neither a verdict nor the lack of one."""

from __future__ import annotations

from typing import Any

import pytest

from synthkd.errors import Waiting
from synthkd.teachers.request import Request
from tests.curate.judges.asking import Reply, judged, scored

ROW = {"instruction": "Why?", "response": "So.", "response_1": "So.", "response_2": "No.",
       "gold": "Because.", "answers": ["So.", "No."]}  # fmt: skip
GOOD = scored(helpfulness=1, correctness=1, coherence=1, complexity=1, verbosity=1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("judge.rubric", {"samples": 2}),
        ("judge.reference", {"reference": "gold", "samples": 2}),
        ("judge.panel", {"teachers": ["main", "other"]}),
        ("judge.pairwise", {}),
        ("judge.expected", {"samples": 2}),
        ("judge.best_of", {}),
    ],
)
async def test_the_row_waits_and_everything_was_asked(name: str, settings: dict[str, Any]) -> None:
    asked: list[Request] = []

    def voice(request: Request) -> Reply:
        asked.append(request)
        if len(asked) == 1:
            raise Waiting("in a batch")
        return GOOD

    with pytest.raises(Waiting):
        await judged(name, settings, ROW, {"main": voice, "other": voice})
    assert len(asked) >= 2
