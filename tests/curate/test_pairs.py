"""pairs: which answer is preferred to which, and when there is no pair."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.pair_lengths import GAP
from synthkd.curate.pairs import PairsSettings
from synthkd.errors import Rejected
from synthkd.rows import Json
from synthkd.steps import Step, find_step
from synthkd.text import normalised
from tests.recipes.conftest import run_step


def pool(*scored: tuple[str, float | None], **more: Json) -> list[dict[str, Json]]:
    return [
        {"teacher": "t", "sample": i, "text": text, "answer": text, "score": score, **more}
        for i, (text, score) in enumerate(scored)
    ]


async def pair(candidates: Any, fields: Any = {}, **settings: Any) -> Any:  # noqa: B006
    return await run_step("pairs", settings, {"candidates": candidates, **fields}, [])


THREE = pool(("fair", 5), ("best", 9), ("second", 8), ("worst!", 1), ("unscored", None))


async def test_the_best_is_preferred() -> None:
    for rejected, text in [("min", "worst!"), ("second", "second")]:
        done = await pair(THREE, rejected=rejected)
        assert (done.fields["chosen"], done.fields["rejected"]) == ("best", text)
    done = await pair(THREE)
    assert done.fields["margin"] == 8
    assert done.fields["chosen_from"] == {"teacher": "t", "sample": 1, "key": None}
    assert ("candidates without a score", 1) in done.kit.counts
    done = await pair(THREE, rejected="second", min_margin=2)
    assert done.fields["rejected"] == "fair"
    drawn = await pair(THREE, rejected="random", min_margin=2)
    assert drawn.fields["rejected"] in {"fair", "worst!"}
    done = await pair(THREE, ratio=1.2)
    assert done.fields["rejected"] == "fair"


RIGHT = pool(("best", 9), ("worst", 1), right=True)


@pytest.mark.parametrize(
    ("candidates", "settings", "fields", "reason"),
    [
        (pool(("a", 1), ("b", None)), {}, {}, "too_few_scored"),
        (pool(("a", 1), (" ", 2)), {}, {}, "too_few_scored"),
        (pool(("a", 1), ("b", 1)), {}, {}, "tie"),
        (pool(("Yes", 1), ("yes ", 3)), {}, {}, "identical"),
        (THREE, {"min_margin": 8.5}, {}, "low_margin"),
        (THREE, {"ratio": 1.0, "min_margin": 8}, {}, "unlike_lengths"),
        (THREE, {"require_chosen_right": True}, {}, "chosen_not_right"),
        (THREE, {"require_chosen_right": True, "gold": "g"}, {"g": "fair"}, "chosen_not_right"),
        (RIGHT, {"require_chosen_right": True}, {}, None),
        (THREE, {"require_chosen_right": True, "gold": "g"}, {"g": "Best."}, None),
    ],
)
async def test_when_there_is_a_pair(
    candidates: Any, settings: Any, fields: Any, reason: str | None
) -> None:
    if reason is None:
        assert (await pair(candidates, fields, **settings)).fields["chosen"] == "best"
        return
    with pytest.raises(Rejected, match=f"^{reason}"):
        await pair(candidates, fields, **settings)


def test_gold_alone_is_refused_and_lengths_are_told() -> None:
    with pytest.raises(ValidationError, match="require_chosen_right"):
        PairsSettings(gold="g")
    step = find_step("pairs")
    assert isinstance(step, Step)
    assert step.sums_up is not None
    assert step.warns is not None
    told = step.sums_up(
        {"pairs": 40, "characters of the chosen": 500, "characters of the rejected": 400}
    )
    assert told[GAP] == 2.5
    (warning,) = step.warns({"pairs of unequal length": 40, "chosen is longer": 5})
    assert "longer one in 5 of 40" in warning


TEXTS = st.sampled_from(["a", "b", "c", "A "])


@given(
    st.lists(st.tuples(TEXTS, st.one_of(st.none(), st.integers(0, 4))), max_size=6),
    st.sampled_from(["min", "second", "random"]),
    st.integers(0, 3),
)
async def test_a_pair_is_of_different_texts_and_leads_by_the_margin(
    scored: Any, rejected: str, margin: int
) -> None:
    try:
        done = await pair(pool(*scored), rejected=rejected, min_margin=margin)
    except Rejected:
        return
    fields = done.fields
    assert normalised(fields["chosen"]) != normalised(fields["rejected"])
    assert fields["margin"] >= max(margin, 1)
    assert max(score for _, score in scored if score is not None) - fields["margin"] >= 0
