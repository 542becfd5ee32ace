"""Steps by name, and the Kit: what a step may rely on whatever its neighbours do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from synthkd import steps
from synthkd.desk import ROUND_OFFSET, Desk
from synthkd.errors import (
    BudgetReached,
    MissingField,
    Rejected,
    TeacherError,
    Unanswered,
    Unrenderable,
    UserError,
)
from synthkd.inputs import inputs_of
from synthkd.io.spool import Table
from synthkd.kit import Kit
from synthkd.prompts import Prompt, load_prompt
from synthkd.rows import Json, Row, source_row
from synthkd.schemas import Schema
from synthkd.steps import (
    BUILTIN,
    Step,
    StepSettings,
    TableStep,
    find_step,
    names_of,
    step,
    step_modules,
    table_step,
)
from synthkd.table_kit import TableKit
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.parts import image_part
from synthkd.teachers.request import Completion, Request, Usage
from synthkd.teachers.wire import parse_reply
from tests.teachers.acting import Acting


class Settings(StepSettings):
    field: str = "text"


@pytest.fixture(autouse=True)
def registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BUILTIN:  # a module registers its steps once, when it is first imported
        find_step(name)
    monkeypatch.setattr(steps, "_registry", dict(steps._registry))


# The registry


def test_a_row_step_is_registered_as_it_was_declared() -> None:
    @step("mine", needs=lambda config: [config.field], gives=["b"], supplies=["c"], fans_out=True)
    async def mine(row: Row, kit: Kit, config: Settings, /) -> AsyncIterator[Row]:
        """What it is about."""
        yield row

    found = find_step("mine")
    assert isinstance(found, Step)
    assert (found.config, found.fans_out, found.about) == (Settings, True, "What it is about.")
    assert names_of(found.needs, Settings(field="x")) == ("x",)
    assert names_of(found.gives, Settings()) == ("b",)
    assert found.supplies == {"c"}


def test_a_table_step_is_registered_too() -> None:
    @table_step("whole")
    def whole(table: Table, kit: TableKit, config: Settings, /) -> Iterator[Row]:
        yield from table

    found = find_step("whole")
    assert isinstance(found, TableStep)
    assert found.config is Settings


def test_a_row_step_that_is_no_async_generator_is_refused_when_declared() -> None:
    async def mine(row: Row, kit: Kit, config: Settings, /) -> list[Row]:
        return [row]

    with pytest.raises(TypeError, match="step 'mine' must be an async generator"):
        step("mine")(mine)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_builtin_step_is_where_the_list_says(name: str) -> None:
    assert find_step(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gate.glod", "there is no step 'gate.glod'; did you mean gate.gold"),
        ("xyzzy", "there is no step 'xyzzy'; see `synthkd steps`"),
    ],
)
def test_an_unknown_step_names_the_near_ones(name: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        find_step(name)
    assert str(caught.value).startswith(hint)


def test_a_third_party_registers_by_entry_point_and_is_imported_only_when_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_steps.py").write_text(
        "from synthkd.steps import Kit, StepSettings, step\n"
        "from synthkd.rows import Row\n"
        "@step('their.step')\n"
        "async def theirs(row: Row, kit: Kit, config: StepSettings, /):\n"
        "    yield row\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint(name="their.step", value="their_steps", group="synthkd.steps")
    evil = EntryPoint(name="label", value="their_steps", group="synthkd.steps")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry, evil])
    known = step_modules()
    assert known["their.step"] == "their_steps"
    assert known["label"] == BUILTIN["label"]  # nobody replaces a step of ours
    assert "their_steps" not in sys.modules
    assert find_step("their.step").name == "their.step"
    monkeypatch.delitem(sys.modules, "their_steps")


def test_a_package_that_does_not_have_the_step_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="their.step", value="synthkd.text", group="synthkd.steps")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    with pytest.raises(UserError, match=r"no step 'their\.step' in the module synthkd\.text"):
        find_step("their.step")


# The Kit


@dataclass
class Slow:
    """Answers sample k after so many turns of the loop; an error in place of turns is raised."""

    name: str
    turns: Sequence[int | BaseException]
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        turns = self.turns[request.sample % ROUND_OFFSET]
        if isinstance(turns, BaseException):
            raise turns
        for _ in range(turns):
            await asyncio.sleep(0)
        key = f"{self.name}{request.sample}"
        return Completion(text=key, finish="stop", usage=Usage(), reply=b"", key=key)


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    text = "---\ninputs: [tags]\n---\n{# user #}\n{{ tags | join(' ') }}\n"
    (tmp_path / "p.md.j2").write_text(text, encoding="utf-8")
    return load_prompt("p", folders=[tmp_path])


def kit_for(prompt: Prompt | None, *stacks: Slow, round: int = 0, seed: int = 0) -> Kit:
    teachers = {
        slow.name: OpenTeacher(
            name=slow.name,
            model=f"model-{slow.name}",
            params={"temperature": 0.5},
            max_tokens=9,
            simulated=False,
            stack=slow,
        )
        for slow in stacks
    }
    prompts = {} if prompt is None else {"p": prompt}
    return Kit(
        Desk(step="s", rank=3, seed=seed, round=round, teachers=teachers, prompts=prompts), "r0"
    )


async def test_a_request_holds_all_that_was_asked(prompt: Prompt) -> None:
    slow = Slow("a", [0])
    kit = kit_for(prompt, slow)
    completion = await kit.ask("p", {"tags": ["x", "y"]}, teacher="a")
    [request] = slow.asked
    assert request.body == {
        "model": "model-a",
        "messages": [{"role": "user", "content": "x y"}],
        "temperature": 0.5,
    }
    assert (request.max_tokens, request.rank, request.prompt) == (9, 3, "p")
    assert request.inputs == {"tags": ["x", "y"]}
    assert kit.keys == [completion.key] == ["a0"]


async def test_a_raw_prompt_asks_for_a_continuation(tmp_path: Path) -> None:
    text = "---\ninputs: []\n---\n{# raw #}\n<|im_start|>user\n\n"
    (tmp_path / "p.md.j2").write_text(text, encoding="utf-8")
    slow = Slow("a", [0])
    await kit_for(load_prompt("p", folders=[tmp_path]), slow).ask("p", {}, teacher="a")
    [request] = slow.asked
    assert request.api == "completions"
    assert request.body == {
        "model": "model-a",
        "prompt": "<|im_start|>user\n",
        "temperature": 0.5,
    }


async def test_answers_come_teacher_by_teacher_whoever_is_quicker(prompt: Prompt) -> None:
    quick, slow = Slow("q", [5, 0, 3]), Slow("s", [9, 7, 0])
    kit = kit_for(prompt, quick, slow)
    replies = await kit.ask_many("p", {"tags": []}, teachers=["s", "q"], samples=3)
    texts = [reply.text for reply in replies if isinstance(reply, Completion)]
    assert texts == kit.keys == ["s0", "s1", "s2", "q0", "q1", "q2"]


async def test_more_samples_go_on_where_the_first_stopped(prompt: Prompt) -> None:
    slow = Slow("a", [0, 0, 0, 0])
    kit = kit_for(prompt, slow)
    await kit.ask_many("p", {"tags": []}, teachers=["a"], samples=1)
    await kit.ask_many("p", {"tags": []}, teachers=["a"], samples=3, first=1)
    assert [request.sample for request in slow.asked] == [0, 1, 2, 3]


async def test_a_teacher_without_an_answer_leaves_its_error_in_its_place(prompt: Prompt) -> None:
    kit = kit_for(prompt, Slow("a", [3, Unanswered("no"), 0]))
    first, second, third = await kit.ask_many("p", {"tags": []}, teachers=["a"], samples=3)
    assert isinstance(second, TeacherError)
    assert isinstance(first, Completion)
    assert isinstance(third, Completion)
    assert kit.keys == ["a0", "a2"]


async def test_a_stop_is_no_answer_and_comes_out(prompt: Prompt) -> None:
    kit = kit_for(prompt, Slow("a", [BudgetReached("no more"), 3]))
    with pytest.raises(ExceptionGroup) as caught:
        await kit.ask_many("p", {"tags": []}, teachers=["a"], samples=2)
    assert caught.group_contains(BudgetReached)
    assert kit.keys == []


@pytest.mark.parametrize("samples", [1, 3])
async def test_a_value_that_does_not_render_fails_the_row_and_nobody_is_asked(
    prompt: Prompt, samples: int
) -> None:
    slow = Slow("a", [0, 0, 0])
    kit = kit_for(prompt, slow)
    with pytest.raises(Unrenderable, match=r"p\.md\.j2 line 5"):
        await kit.ask_many("p", {"tags": None}, teachers=["a"], samples=samples)
    with pytest.raises(Unrenderable):
        await kit.ask("p", {"tags": 3}, teacher="a")
    assert slow.asked == []


async def test_a_new_round_asks_for_new_samples(prompt: Prompt) -> None:
    slow = Slow("a", [0, 0])
    kit = kit_for(prompt, slow, round=2)
    await kit.ask_many("p", {"tags": []}, teachers=["a"], samples=2)
    await kit.ask("p", {"tags": []}, teacher="a", sample=1)
    base = 2 * ROUND_OFFSET
    assert [request.sample for request in slow.asked] == [base, base + 1, base + 1]
    assert kit.round == 2


WHERE = st.tuples(st.integers(), st.integers(0, 9), st.text(max_size=5), st.text(max_size=5))


@given(WHERE, WHERE)
def test_chance_is_a_function_of_seed_round_step_and_row(
    one: tuple[int, int, str, str], other: tuple[int, int, str, str]
) -> None:
    def numbers(seed: int, round: int, label: str, row_id: str) -> list[int]:
        rng = Kit(Desk(step=label, seed=seed, round=round), row_id).rng
        return [rng.getrandbits(64) for _ in range(4)]

    one = (one[0] % 2**63, *one[1:])
    other = (other[0] % 2**63, *other[1:])
    assert numbers(*one) == numbers(*one)
    assert (numbers(*one) == numbers(*other)) == (one == other)


def test_a_kit_keeps_what_was_discarded_and_why() -> None:
    kit = kit_for(None)
    kit.discard("refused", "it said no")
    assert kit.discards == [("refused", "it said no")]


def test_a_table_kit_hands_over_what_is_gone_once() -> None:
    kit = TableKit(Desk(step="s"))
    one, two = (source_row("n", [i], ordinal=i, fields={}) for i in range(2))
    kit.reject(one, "odd", "because")
    kit.merge(two)
    (gone, why), (merged, nothing) = kit.take_gone()
    assert (gone, merged, nothing) == (one, two, None)
    assert isinstance(why, Rejected)
    assert (why.reason, why.detail) == ("odd", "because")
    assert kit.take_gone() == []
    with pytest.raises(ValueError, match="a reason is a lower_snake code"):
        kit.reject(one, "Not A Code")


def test_inputs_come_from_the_step_before_the_row() -> None:
    row = source_row("n", [0], ordinal=0, fields={"a": 1, "b": 2, "gold": 3})
    assert inputs_of(row, ["a", "b"], b=9) == {"a": 1, "b": 9}
    with pytest.raises(MissingField, match="no field 'c'"):
        inputs_of(row, ["a", "c"])


def test_a_step_for_text_refuses_a_field_with_an_image() -> None:
    picture: Json = {"type": "image_url", "image_url": {"url": "https://host/x.png"}}
    row = source_row("s", ["1"], ordinal=0, fields={"text": [picture], "labels": ["a"]})
    assert inputs_of(row, ["labels"]) == {"labels": ["a"]}
    with pytest.raises(Unrenderable, match="the field 'text' holds content parts"):
        inputs_of(row, ["labels", "text"])


class Saying(Slow):
    """Says what is next in a list, one token a character, within the room it is given."""

    def __init__(self, *texts: str) -> None:
        super().__init__("a", [])
        self.texts = list(texts)
        self.room: int | None = None

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        text, room = self.texts.pop(0), self.room or request.max_tokens or 10**6
        finish = "length" if len(text) > room else "stop"
        key = f"k{len(self.asked)}"
        return Completion(text=text[:room], finish=finish, usage=Usage(), reply=b"", key=key)


async def test_a_prompt_with_a_schema_is_asked_in_its_shape(tmp_path: Path) -> None:
    text = "---\ninputs: []\noutput: {json_schema: {type: integer}}\n---\n{# user #}\nHow many?\n"
    (tmp_path / "p.md.j2").write_text(text, encoding="utf-8")
    saying = Saying("many", "7")
    kit = kit_for(load_prompt("p", folders=[tmp_path]), saying)
    completion = await kit.ask("p", {}, teacher="a")
    assert completion.shaped is not None
    assert completion.shaped.value == 7
    assert kit.keys == ["k1", "k2"]
    saying.texts = ["8"]
    (other,) = await kit.ask_many("p", {}, teachers=["a"])
    assert isinstance(other, Completion)
    assert other.shaped is not None
    assert (other.shaped.value, kit.keys) == (8, ["k1", "k2", "k3"])


class Count(BaseModel):
    n: int


async def test_a_step_may_give_a_pydantic_model(prompt: Prompt) -> None:
    saying = Saying('{"n": "x"}', '{"n": 3}')
    saying.room = 100
    kit = kit_for(prompt, saying)
    schema = Schema.of_model(Count)
    (reply,) = await kit.ask_many("p", {"tags": []}, teachers=["a"], schema=schema)
    assert isinstance(reply, Completion)
    assert reply.shaped is not None
    assert Count.model_validate(reply.shaped.value) == Count(n=3)
    assert [request.body["response_format"] for request in saying.asked] == [
        schema.response_format
    ] * 2


async def test_a_cut_answer_is_asked_for_again_if_the_step_says_so(prompt: Prompt) -> None:
    saying = Saying("x" * 20, "x" * 20, "x" * 20)
    kit = kit_for(prompt, saying)
    completion = await kit.ask("p", {"tags": []}, teacher="a", longer=30)
    assert (len(completion.text), kit.keys) == (20, ["k2"])
    assert [request.max_tokens for request in saying.asked] == [9, 30]
    assert (await kit.ask("p", {"tags": []}, teacher="a")).finish == "length"


async def test_images_are_asked_about_by_their_hash(prompt: Prompt) -> None:
    slow = Slow("a", [0])
    picture: Any = image_part(b"PNG", "image/png")
    await kit_for(prompt, slow).ask("p", {"tags": ["What?"]}, teacher="a", images=[picture])
    [request] = slow.asked
    messages: Any = request.body["messages"]
    words, seen = messages[-1]["content"]
    assert words == {"type": "text", "text": "What?"}
    assert request.images == {seen["image_url"]["url"]: picture["image_url"]["url"]}
    assert seen["image_url"]["url"].startswith("sha256:")


async def test_vectors_come_with_their_keys(prompt: Prompt) -> None:
    async def embed(request: Request) -> Completion:
        reply = orjson.dumps({"data": [{"embedding": [3.0, 4.0]}]})
        return parse_reply("embeddings", reply)._replace(key=str(request.body["input"]))

    kit = kit_for(prompt, Slow("a", []))
    opened = kit.desk.teachers["a"]
    kit.desk = replace(kit.desk, teachers={"a": replace(opened, embedding=Acting(embed))})
    vectors = await kit.embed(["one", "two"], teacher="a")
    assert [[round(x, 6) for x in vector] for vector in vectors] == [[0.6, 0.8]] * 2
    assert kit.keys == ["one", "two"]
