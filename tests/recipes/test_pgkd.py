from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.config import PoolConfig, SimulatedConfig
from synthkd.errors import PromptError, Rejected, UserError
from synthkd.evaluate.report import label_report
from synthkd.feedback import Example, Feedback
from synthkd.rows import Fields
from synthkd.teachers.request import Completion, Shaped, Usage
from synthkd.teachers.simulated import open_world
from synthkd.teachers.simulated.pool import Pool

ROW = {"text": "my own text", "label": "dog"}
CAT = ROW | {"label": "cat"}
SETTINGS = {"text": "text", "label": "label", "per_row": 2}
EXAMPLES = (
    Example(text="it purrs", gold="cat", said="cat", confidence=0.9),
    Example(text="it barks", gold="dog", said="cat", confidence=0.4),
    Example(text="it woofs", gold="dog", said="cat", confidence=0.95),
)


def feedback(examples: Sequence[Example] = EXAMPLES) -> Feedback:
    gold, said = [one.gold for one in examples], [one.said for one in examples]
    return Feedback(
        round=0,
        scores={"accuracy": 1 / 3, "macro_f1": 0.25},
        report=label_report(gold, said),
        examples=tuple(examples),
    )


def wrote(*examples: Any) -> Completion:
    value = {"examples": list(examples)}
    said = Completion(text=orjson.dumps(value).decode(), finish="stop", usage=Usage(), reply=b"")
    return said._replace(shaped=Shaped(value=value, faults=()))


def dogs(*texts: str) -> Completion:
    return wrote(*({"text": text, "label": "dog"} for text in texts))


async def test_in_round_0_the_row_is_handed_on_and_nobody_is_asked(ask: Callable[..., Any]) -> None:
    done = await ask("pgkd", SETTINGS, ROW, [])
    assert done.fields == ROW
    assert done.teachers["main"].asked == []


async def test_it_asks_for_more_of_what_the_student_has_wrong(ask: Callable[..., Any]) -> None:
    done = await ask(
        "pgkd", SETTINGS, ROW, [dogs("it growls", "it howls", "one too many")], feedback()
    )
    assert [row.fields for row in done.rows] == [
        {"text": "it growls", "label": "dog"},
        {"text": "it howls", "label": "dog"},
    ]
    (request,) = done.teachers["main"].asked
    system, user = (message["content"] for message in request.body["messages"])
    assert "| dog | 0.00 | 0.00 | 0.00 | 2 |" in system
    # The surest mistake first.
    assert system.index('"it woofs" is dog, it says cat with probability 0.95') < system.index(
        "it barks"
    )
    assert "Write 2 new messages of the label dog" in user
    assert "(the classifier takes it for cat)" in user


async def test_the_controls_tell_nothing_about_the_student(ask: Callable[..., Any]) -> None:
    settings = SETTINGS | {"like": "own", "shows": []}
    cats = wrote({"text": "it meows", "label": "Cat."})
    done = await ask("pgkd", settings, CAT, [cats], feedback())
    assert done.fields == {"text": "it meows", "label": "cat"}
    (request,) = done.teachers["main"].asked
    words = " ".join(message["content"] for message in request.body["messages"])
    assert "my own text" in words
    assert not any(one.text in words for one in EXAMPLES)
    assert "precision" not in words


async def test_what_is_of_no_use_is_discarded_with_a_reason(ask: Callable[..., Any]) -> None:
    reply = wrote(
        {"text": "IT  barks", "label": "dog"},
        {"text": "my own text", "label": "dog"},
        {"text": "it moos", "label": "cow"},
        {"text": " ", "label": "dog"},
        {"text": "it howls", "label": "dog"},
        {"text": "It howls", "label": "dog"},
    )
    done = await ask("pgkd", SETTINGS, ROW, [reply], feedback())
    assert [row.fields["text"] for row in done.rows] == ["it howls"]
    reasons = [reason for reason, _ in done.kit.discards]
    assert reasons == ["copied", "copied", "bad_label", "empty_text", "copied"]
    with pytest.raises(Rejected, match="nothing_new"):
        await ask("pgkd", SETTINGS, ROW, [wrote()], feedback())


async def test_mistakes_are_taken_up_label_by_label(ask: Callable[..., Any]) -> None:
    """No cat is wrong, so a cat's row asks for more of itself; with `any_wrong` for dogs."""
    cats = wrote({"text": "it meows", "label": "cat"})
    done = await ask("pgkd", SETTINGS, CAT, [cats], feedback())
    assert done.fields == {"text": "it meows", "label": "cat"}
    settings = SETTINGS | {"like": "any_wrong"}
    done = await ask("pgkd", settings, CAT, [dogs("it growls")], feedback())
    assert done.fields == {"text": "it growls", "label": "dog"}


async def test_a_student_without_mistakes_gets_more_of_the_same(ask: Callable[..., Any]) -> None:
    cats = wrote({"text": "it meows", "label": "cat"})
    done = await ask("pgkd", SETTINGS, CAT, [cats], feedback(EXAMPLES[:1]))
    assert done.fields == {"text": "it meows", "label": "cat"}


# --- the simulated pool


def pool(folder: Path, error_rate: float = 0.0, **more: Any) -> Pool:
    rows = [
        {"t": f"{animal} number {n}", "l": animal} for n in range(20) for animal in ("cat", "dog")
    ]
    (folder / "pool.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    config = {"jsonl": "pool.jsonl", "text": "t", "label": "l", **more}
    return Pool(PoolConfig.model_validate(config), folder, error_rate)


def test_the_pool_hands_out_near_ones_of_the_class(tmp_path: Path) -> None:
    inputs: Fields = {"label": "dog", "text": "a dog of number 17", "n": 2}
    made = [
        orjson.loads(pool(tmp_path).answer("examples/like", inputs, random.Random(seed)))[
            "examples"
        ]
        for seed in range(60)
    ]
    assert {one["label"] for examples in made for one in examples} == {"dog"}
    texts = [one["text"] for examples in made for one in examples]
    assert Counter(texts).most_common(1)[0][0] == "dog number 17"
    assert len(set(texts)) > 12  # whoever asks often comes to others
    assert all(len({one["text"] for one in examples}) == 2 for examples in made)
    slips = orjson.loads(pool(tmp_path, 1.0).answer("examples/like", inputs, random.Random(0)))
    assert all(one["text"].startswith("cat") for one in slips["examples"])


def test_what_the_pool_cannot_do_is_said(tmp_path: Path) -> None:
    world, rng = pool(tmp_path), random.Random(0)
    with pytest.raises(PromptError, match="no example of 'cow'"):
        world.answer("examples/like", {"label": "cow", "text": "", "n": 1}, rng)
    with pytest.raises(PromptError, match="cannot do the prompt 'label/classify'"):
        world.answer("label/classify", {}, rng)
    with pytest.raises(UserError, match="has no text in 't' and 'kind'"):
        pool(tmp_path, label="kind")
    with pytest.raises(UserError, match="no row after the first 40"):
        pool(tmp_path, skip=40)
    with pytest.raises(ValueError, match="needs the block `pool`"):
        SimulatedConfig(world="pool")


def test_another_pool_is_another_teacher(tmp_path: Path) -> None:
    pool(tmp_path)
    blocks = [{"jsonl": "pool.jsonl", "text": "t", "label": "l", "skip": skip} for skip in (0, 2)]
    who = {
        open_world(
            SimulatedConfig.model_validate({"world": "pool", "pool": block}), tmp_path
        ).identity.served_by
        for block in blocks
    }
    assert len(who) == 2


def test_a_pool_without_labels_goes_on_with_lists(tmp_path: Path) -> None:
    inputs: Fields = {"instructions": ["Feed a cow."], "first": 2, "last": 6}
    said = pool(tmp_path, label=None).answer("instruct/self", inputs, random.Random(0))
    lines = [line.split(". ", 1) for line in said.splitlines()]
    assert [number for number, _ in lines] == list("23456")
    assert len({text for _, text in lines}) == 5
    shown = pool(tmp_path, 1.0, label=None).answer("instruct/self", inputs, random.Random(0))
    assert shown.count("Feed a cow.") == 5
    with pytest.raises(PromptError, match="name the column"):
        pool(tmp_path, label=None).answer(
            "examples/like", {"label": "dog", "text": "", "n": 1}, random.Random(0)
        )
    with pytest.raises(PromptError, match="goes on with lists"):
        pool(tmp_path).answer("instruct/classification", {"instruction": "x"}, random.Random(0))
