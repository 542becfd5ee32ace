"""The adapter of lm-evaluation-harness, without it: what it logs, and what is said of that."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from synthkd.errors import UserError
from synthkd.evaluate import harness


def document(place: int, **scores: Any) -> dict[str, Any]:
    """As lm_eval 0.4.13 logs one."""
    more = {"doc": {}, "resps": [], "target": "a", "filter": scores.pop("filter", "none")}
    return {"doc_id": place, "metrics": list(scores), **more, **scores}


def test_scores_of_documents_in_their_order() -> None:
    logged = [document(1, acc=0.0, acc_norm=1.0), document(0, acc=1.0, acc_norm=1.0)]
    assert harness.by_metric({"toy": logged}) == {
        "toy acc": [1.0, 0.0],
        "toy acc_norm": [1.0, 1.0],
    }


def test_filters_are_told_apart_and_what_is_no_share_is_left_out() -> None:
    logged = [
        document(place, filter=name, exact_match=float(name == "strict"), bits=(3.5, 2), ppl=7.0)
        for place in (0, 1)
        for name in ("strict", "flexible")
    ]
    assert harness.by_metric({"toy": logged}) == {
        "toy exact_match (strict)": [1.0, 1.0],
        "toy exact_match (flexible)": [0.0, 0.0],
    }


def test_where_it_is_not_installed_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'synthkd\[harness\]'"):
        harness.scores("hf", {"pretrained": "x"}, ["toy"])


def made_up(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[dict[str, Any]]:
    """A harness that answers so; what it was called with."""
    called: list[dict[str, Any]] = []

    def simple_evaluate(**given: Any) -> Any:
        called.append(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    package, tasks = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.tasks")
    package.simple_evaluate = simple_evaluate  # type: ignore[attr-defined]
    tasks.TaskManager = lambda include_path: include_path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lm_eval", package)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    monkeypatch.setattr(harness, "find_spec", lambda _: object())
    return called


def test_it_is_asked_for_the_scores_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    called = made_up(monkeypatch, {"samples": {"toy": [document(0, acc=1.0)]}})
    assert harness.scores("hf", {"pretrained": "x"}, ["toy"], shots=2) == {"toy acc": [1.0]}
    (given,) = called
    assert given["log_samples"] is True
    assert (given["num_fewshot"], given["tasks"], given["bootstrap_iters"]) == (2, ["toy"], 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no metric with a score from 0 to 1"),
        ({"samples": {"toy": [document(0, ppl=7.0)]}}, "no metric with a score from 0 to 1"),
        (KeyError("toy"), "KeyError: 'toy'"),
    ],
)
def test_what_cannot_be_compared_is_said(
    answer: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, answer)
    with pytest.raises(UserError, match=said):
        harness.scores("hf", {"pretrained": "x"}, ["toy"])
