"""s3ft: which of own answer, paraphrase and gold is learnt, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import Rejected, RequestRefused, Unanswered
from synthkd.flow import run_loop
from synthkd.pipeline import Pipeline
from synthkd.teachers.request import Completion, Shaped, Usage
from tests.recipes.conftest import run_step, said

ROW: dict[str, Any] = {"question": "How many are 2 and 3?", "answer": 5}
SETTINGS = {"gold": "answer", "student": "me"}
BOTH = {**SETTINGS, "paraphraser": "other"}
RIGHT, WRONG = "Two and three: 5. So the answer is 5.", "They are 6. So the answer is 6."


def judged(right: bool) -> Completion:
    value: Any = {"reasoning": "looked", "right": right}
    text = orjson.dumps(value).decode()
    made = Completion(text=text, finish="stop", usage=Usage(), reply=b"")
    return made._replace(shaped=Shaped(value=value, faults=()))


def origin(done: Any) -> tuple[str, str]:
    assert done.fields.keys() - ROW.keys() == {"response", "source_of_target"} | (
        {"candidates"} if "candidates" in done.fields else set()
    )
    return done.fields["source_of_target"], done.fields["response"]


async def test_an_own_answer_that_is_right_is_learnt_as_it_is(ask: Callable[..., Any]) -> None:
    done = await ask("s3ft", BOTH, ROW, {"me": [RIGHT + "\n\nQ: And 3?"], "other": [RIGHT]})
    assert origin(done) == ("own", RIGHT)
    assert done.rows[0].made_by == ("me-0",)
    assert done.teachers["other"].asked == []
    assert "5" not in str(done.teachers["me"].asked[0].body["messages"])


async def test_the_first_right_one_of_several_is_taken(ask: Callable[..., Any]) -> None:
    replies = [WRONG, "no cue", RIGHT]
    done = await ask("s3ft", {**SETTINGS, "samples": 3}, ROW, {"me": replies})
    assert origin(done) == ("own", RIGHT)
    assert [reason for reason, _ in done.kit.discards] == ["wrong_answer", "no_cue"]
    assert done.kit.counts == [("own", 1)]


async def test_else_gold_in_other_words_and_else_gold(ask: Callable[..., Any]) -> None:
    done = await ask("s3ft", BOTH, ROW, {"me": [WRONG], "other": [RIGHT]})
    assert origin(done) == ("paraphrase", RIGHT)
    (request,) = done.teachers["other"].asked
    assert "\n5\n" in request.body["messages"][-1]["content"]
    done = await ask("s3ft", BOTH, ROW, {"me": [WRONG], "other": [WRONG]})
    assert origin(done) == ("gold", "5")
    row = {**ROW, "solution": "2 + 3 = 5"}
    settings = {**SETTINGS, "reference": "solution"}
    done = await ask("s3ft", settings, row, {"me": [said("Two and", finish="length")]})
    assert done.fields["response"] == "2 + 3 = 5"
    assert [reason for reason, _ in done.kit.discards] == ["truncated"]


async def test_a_student_of_labels_answers_with_the_reply_as_a_whole(
    ask: Callable[..., Any],
) -> None:
    row = {"question": "where is it", "answer": "order_status"}
    done = await ask("s3ft", {**SETTINGS, "cue": []}, row, {"me": ["Order status"]})
    assert origin(done) == ("own", "Order status")


@pytest.mark.parametrize(("verdict", "wanted"), [(True, "own"), (False, "gold")])
async def test_a_judge_reads_prose(ask: Callable[..., Any], verdict: bool, wanted: str) -> None:
    config = {**SETTINGS, "judge": "judge"}
    done = await ask("s3ft", config, ROW, {"me": ["Five of them."], "judge": [judged(verdict)]})
    assert origin(done)[0] == wanted
    (request,) = done.teachers["judge"].asked
    assert "Five of them." in request.body["messages"][-1]["content"]


async def test_a_verdict_that_cannot_be_read_is_no_yes(ask: Callable[..., Any]) -> None:
    config = {**SETTINGS, "judge": "judge"}
    done = await ask("s3ft", config, ROW, {"me": ["Five."], "judge": ["I think so", "yes!"]})
    assert origin(done)[0] == "gold"
    assert [reason for reason, _ in done.kit.discards] == ["unjudged"]


def pool(*texts: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            **{"teacher": "me", "sample": n, "text": text, "status": "ok", "finish": "stop"},
            **{"answer": text.split()[-1].rstrip("."), "key": f"k{n}", **more},
        }
        for n, text in enumerate(texts)
    ]


async def test_candidates_that_are_there_are_used_and_nobody_is_asked(
    ask: Callable[..., Any],
) -> None:
    row = {**ROW, "candidates": pool(WRONG, RIGHT)}
    done = await ask("s3ft", SETTINGS, row, {"me": []})
    assert origin(done) == ("own", RIGHT)
    assert done.rows[0].made_by == ("k1",)
    row = {**ROW, "candidates": pool(WRONG, RIGHT, right=True)}
    assert origin(await ask("s3ft", {"gold": "answer"}, row, {}))[1] == WRONG
    others = {**ROW, "candidates": pool(WRONG, teacher="big")}
    done = await ask("s3ft", SETTINGS, others, {"me": [RIGHT]})
    assert len(done.teachers["me"].asked) == 1


async def test_an_outage_fails_the_row_and_a_refusal_does_not(ask: Callable[..., Any]) -> None:
    with pytest.raises(Unanswered):
        await ask("s3ft", SETTINGS, ROW, {"me": [Unanswered("down")]})
    done = await ask("s3ft", SETTINGS, ROW, {"me": [RequestRefused(400, "too long a prompt")]})
    assert origin(done)[0] == "gold"
    with pytest.raises(Rejected, match="no_gold"):
        await ask("s3ft", SETTINGS, {**ROW, "answer": None}, {"me": [RIGHT]})


replies = st.lists(st.sampled_from([RIGHT, WRONG, "", "no cue", "So the answer is 5."]), max_size=4)


@settings(max_examples=25)
@given(own=replies, other=replies.filter(len))
def test_what_is_learnt_is_right_and_the_earliest_that_is(own: list[str], other: list[str]) -> None:
    config = {**BOTH, "samples": max(1, len(own))}
    script = {"me": own or [""], "other": other[:1]}
    done = run_loop(run_step("s3ft", config, ROW, script))
    source, text = origin(done)
    good = [one for one in own if one.endswith("5.")]
    if good:
        assert (source, text) == ("own", good[0])
    elif other[0].endswith("5."):
        assert (source, text) == ("paraphrase", other[0])
    else:
        assert (source, text) == ("gold", "5")
    assert Counter(dict(done.kit.counts)) == {source: 1}


def test_the_pipeline_says_what_its_rows_are_made_of(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    ledger = str(tmp_path / "ledger.db")
    pipeline = Pipeline.load("pipelines/s3ft.yaml", out=tmp_path / "out", ledger=ledger)
    figures = pipeline.run_sync().figures["s3ft"]
    made = Counter(
        pq.read_table(tmp_path / "out" / "dataset" / "train.parquet")
        .column("source_of_target")
        .to_pylist()
    )
    assert all(made[name] > 0 for name in ("own", "paraphrase", "gold"))
    assert {name: figures[name] for name in made} == made
    assert sum(float(str(figures[f"{name} %"])) for name in made) == pytest.approx(100, abs=0.2)
