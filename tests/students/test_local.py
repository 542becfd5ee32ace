"""A student as a teacher in this process: batches, chance, ends, likelihood, memory."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from pydantic import ValidationError

from synthkd.config import BudgetConfig, LinearConfig, LocalConfig, TeacherConfig
from synthkd.curate.difficulty.ifd import compared
from synthkd.desk import Desk
from synthkd.errors import RequestRefused, SynthkdError, UserError
from synthkd.io.rows_file import read_rows
from synthkd.kit import Kit
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.prompts import load_prompt
from synthkd.rows import Fields, Json
from synthkd.students import kinds
from synthkd.students.linear import train_linear
from synthkd.students.local import Answer, LocalTeacher, open_student
from synthkd.students.writing import Ask, Writer, load_writer
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.likelihood import likelihood
from synthkd.teachers.open import Gateway, open_teachers
from synthkd.teachers.request import Completion, Request
from tests.runs import finished
from tests.students.lessons import lesson

pytest.importorskip("torch")

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
EMPTY: Fields = {}
BIG = {"a mouse": "no", "a whale": "yes, it is", "an ant": "no", "a house": "yes, it is"}

TEXTS = ["Where is my order?", "the parcel is late, and broken", "no", "yes or no: answer: " * 6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of random weights that writes ASCII, and ends by itself now and then."""
    source = Path(__file__).parents[1] / "vllm" / "tiny_model.py"
    spec = importlib.util.spec_from_file_location("tiny_model", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = tmp_path_factory.mktemp("student") / "tiny"
    module.make(made, 3)
    return made


@pytest.fixture(scope="module")
def writer(folder: Path) -> Writer:
    return load_writer(folder)


def asks(writer: Writer, **more: Any) -> list[Ask]:
    return [
        Ask(tokens=writer.raw_tokens(text), max_tokens=24, seed=place, **more)
        for place, text in enumerate(TEXTS)
    ]


def chat(text: str, params: Fields = EMPTY, *, sample: int = 0) -> Request:
    messages = [{"role": "user", "content": text}]
    return Request(
        body={"model": "student", "messages": messages, **params},
        inputs={},
        sample=sample,
        max_tokens=24,
    )


async def together(asking: Iterable[Coroutine[Any, Any, T]]) -> list[T | SynthkdError]:
    """All at once; an error in the place of an answer."""

    async def caught(one: Coroutine[Any, Any, T]) -> T | SynthkdError:
        try:
            return await one
        except SynthkdError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(caught(one)) for one in asking]
    return [task.result() for task in tasks]


# ----------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_batch(writer: Writer, temperature: float) -> None:
    together = writer.write(asks(writer, temperature=temperature))
    alone = [writer.write([ask])[0] for ask in asks(writer, temperature=temperature)]
    assert together == alone
    assert {one.finish for one in together} == {"stop", "length"}  # ended at different places


def test_greedy_is_what_the_model_finds_likeliest(writer: Writer) -> None:
    ask = asks(writer)[0]
    tokens = list(ask.tokens)
    written = writer.write([ask])[0].tokens
    for token in written:
        candidates = [[*tokens, other] for other in range(len(writer.tokenizer))]
        values = [row[-1] for row in writer.logprobs(candidates)]
        assert values[token] == max(value for value in values if value is not None)
        tokens.append(token)
        if len(tokens) > len(ask.tokens) + 2:
            break


def test_sampling_follows_the_distribution(writer: Writer) -> None:
    """Of 2,000 draws, each likely token's share is its probability, within 4 standard errors."""
    tokens = writer.raw_tokens("no")
    draws = [
        Ask(tokens=tokens, max_tokens=1, temperature=1.0, top_p=0.5, seed=seed)
        for seed in range(2000)
    ]
    found = [one.tokens[0] for one in writer.write(draws)]
    everything = [[*tokens, other] for other in range(len(writer.tokenizer))]
    shares = {
        token: 2.718281828459045 ** (row[-1] or 0.0)
        for token, row in enumerate(writer.logprobs(everything))
    }
    nucleus: dict[int, float] = {}
    for token in sorted(shares, key=lambda token: -shares[token]):
        if sum(nucleus.values()) >= 0.5:
            break
        nucleus[token] = shares[token]
    assert set(found) <= set(nucleus)
    mass = sum(nucleus.values())
    for token, share in nucleus.items():
        expected = share / mass
        error = 4 * (expected * (1 - expected) / len(draws)) ** 0.5
        assert abs(found.count(token) / len(draws) - expected) < error


def test_an_answer_ends_before_a_stop_text_and_at_its_length(writer: Writer) -> None:
    whole = writer.write([Ask(tokens=writer.raw_tokens("no"), max_tokens=24)])[0]
    stop = whole.text[5:8]
    cut, short = writer.write(
        [
            Ask(tokens=writer.raw_tokens("no"), max_tokens=24, stop=[stop, "never written"]),
            Ask(tokens=writer.raw_tokens("no"), max_tokens=3),
        ]
    )
    assert (cut.text, cut.finish) == (whole.text[: whole.text.index(stop)], "stop")
    assert len(cut.tokens) < len(whole.tokens)
    assert (short.tokens, short.finish) == (whole.tokens[:3], "length")


def test_logprobs_are_the_same_alone_and_together(writer: Writer) -> None:
    texts = [writer.raw_tokens(text) for text in TEXTS]
    together = writer.logprobs(texts)
    for tokens, values in zip(texts, together, strict=True):
        (alone,) = writer.logprobs([tokens])
        assert len(values) == len(tokens)
        assert values[0] is alone[0] is None
        assert values[1:] == pytest.approx(alone[1:], abs=1e-4)


def test_what_nobody_wants_any_more_ends_at_the_next_token(folder: Path) -> None:
    left = threading.Event()
    writer = load_writer(folder, left)
    left.set()
    with pytest.raises(InterruptedError):
        writer.write(asks(writer))


# ----------------------------------------------------------------------------------- batches


class Counting:
    """Answers with the number of questions that were together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.sizes.append(len(requests))
        reply = {"choices": [{"message": {"content": str(len(requests))}}]}
        return [orjson.dumps(reply) for _ in requests]


async def test_questions_that_come_together_are_answered_together() -> None:
    counting = Counting()
    teacher = LocalTeacher(lambda left: counting, batch_size=8)
    await together(teacher.complete(chat(f"{n}")) for n in range(20))
    assert counting.sizes == [8, 8, 4]
    await teacher.complete(chat("later"))
    assert counting.sizes[-1] == 1


async def test_what_cannot_be_loaded_is_said_to_all() -> None:
    def broken(_: threading.Event) -> Counting:
        raise UserError("damaged")

    teacher = LocalTeacher(broken, batch_size=8)
    found = await together(teacher.complete(chat(f"{n}")) for n in range(3))
    assert [str(error) for error in found] == ["damaged"] * 3


async def test_one_bad_question_costs_only_itself(folder: Path) -> None:
    teacher = open_student(LocalConfig(folder="x"), folder)
    long = chat("no " * 3000)
    shaped = chat("no", {"response_format": {"type": "json_object"}})
    found = await together(map(teacher.complete, [long, shaped, chat("no")]))
    assert isinstance(found[0], RequestRefused)
    assert "2048" in str(found[0])
    assert isinstance(found[1], RequestRefused)
    assert "response_format" in str(found[1])
    assert isinstance(found[2], Completion)
    await teacher.free()


# ------------------------------------------------------------------------- the whole stack


@asynccontextmanager
async def opened(
    ledger_folder: Path, student: Path, base: Path = Path(), **params: Json
) -> AsyncIterator[Gateway]:
    config = TeacherConfig.model_validate(
        {"student": {"folder": str(student)}, "params": {"max_tokens": 24, **params}}
    )
    ledger = SqliteLedger(ledger_folder / "ledger.sqlite")
    try:
        async with open_teachers(
            {"me": config},
            base=base,
            ledger=ledger,
            run_id="r",
            budget=BudgetConfig(usd=1e-9),
            open_student=open_student,
        ) as gateway:
            yield gateway
    finally:
        await ledger.close()


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


async def asked(gateway: Gateway, samples: int = 2) -> Mapping[tuple[str, int], Completion]:
    me = gateway.teachers["me"]
    requests = {
        (text, sample): chat(text, me.params, sample=sample)
        for text in TEXTS
        for sample in range(samples)
    }
    found = await together(map(me.complete, requests.values()))
    return {
        asked: one
        for asked, one in zip(requests, found, strict=True)
        if isinstance(one, Completion)
    }


async def test_a_student_is_asked_and_paid_like_any_teacher(tmp_path: Path, folder: Path) -> None:
    async with opened(tmp_path, folder, seed=7) as gateway:
        first = await asked(gateway)
    one, other = first[TEXTS[0], 0], first[TEXTS[0], 1]
    assert one.text != other.text
    assert one.usage.completion_tokens
    assert one.usage.prompt_tokens
    moved = copied(folder, tmp_path / "moved")
    async with opened(tmp_path, moved, seed=7) as gateway:
        again = await asked(gateway)
    assert [one.hit for one in again.values()] == [True] * len(first)
    # Other company in the batch, and nothing in the ledger: the same answer.
    async with opened(moved, moved, seed=7) as gateway:
        me = gateway.teachers["me"]
        alone = await me.complete(chat(TEXTS[0], me.params, sample=1))
    assert not alone.hit
    assert alone.text == other.text


async def test_other_weights_are_another_teacher(tmp_path: Path, folder: Path) -> None:
    other = copied(folder, tmp_path / "other")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    for student in (folder, other):
        async with opened(tmp_path, student) as gateway:
            answers = await asked(gateway, samples=1)
        assert [one.hit for one in answers.values()] == [False] * len(TEXTS)


async def test_memory_is_given_back_and_taken_again(tmp_path: Path, folder: Path) -> None:
    async with opened(tmp_path, folder) as gateway:
        await asked(gateway, samples=1)
        (student,) = gateway.students
        assert isinstance(student, LocalTeacher)
        assert student.loaded
        await gateway.release()
        assert not student.loaded
        me = gateway.teachers["me"]
        assert (await me.complete(chat("a new question", me.params))).text
        assert student.loaded


def taught(folder: Path) -> None:
    """A linear student of a simulated teacher."""
    config = LinearConfig(kind="linear", text="question", label="intent")
    texts = ["my card is lost", "a lost card", "where is my parcel", "the parcel is late"] * 3
    labels = ["card", "card", "parcel", "parcel"] * 3
    made_from = {"teachers": "t: SIMULATED, world `tickets`"}
    train_linear(texts, labels, config, folder, made_from)


async def test_a_linear_student_answers_with_its_label(tmp_path: Path) -> None:
    taught(tmp_path / "student")
    async with opened(tmp_path, tmp_path / "student") as gateway:
        me = gateway.teachers["me"]
        answer = await me.complete(chat("the card that I lost", me.params))
        assert (answer.text, answer.finish) == ("card", "stop")
        assert me.simulated  # it learnt from a simulated teacher


async def test_a_linear_student_draws_from_its_probabilities_where_it_has_a_temperature(
    tmp_path: Path,
) -> None:
    taught(tmp_path / "student")
    async with opened(tmp_path, tmp_path / "student", temperature=1.0) as gateway:
        me = gateway.teachers["me"]
        requests = [chat("a thing", me.params)._replace(sample=n) for n in range(60)]
        said = await together(me.complete(one) for one in requests)
        told = [one.text for one in said if isinstance(one, Completion)]
        assert len(told) == len(requests)
        assert {"card", "parcel"} == set(told)
    async with opened(tmp_path, tmp_path / "student", temperature=1.0) as gateway:
        me = gateway.teachers["me"]
        again = await together(me.complete(one) for one in requests)
        assert [one.text for one in again if isinstance(one, Completion)] == told


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
async def test_asked_at_temperature_0_it_answers_as_it_is_evaluated(tmp_path: Path) -> None:
    rows = [{"q": f"is {thing} big?", "a": answer} for thing, answer in BIG.items()]
    scratch = {"hidden_size": 32, "layers": 1, "heads": 2, "tokenizer": "characters"}
    block = {"kind": "sft", "prompt": "q", "completion": "a", "scratch": scratch, "max_length": 64}
    more = {"epochs": 40, "learning_rate": 1e-2, "max_new_tokens": 12}
    made = lesson(tmp_path / "lesson", {**block, **more}, rows)
    kinds.train(made, lambda line: None)
    questions = [str(row["q"]) for row in rows]
    said = kinds.load(made.folder).predict(questions)
    assert said == list(BIG.values())  # it has learnt something
    async with opened(tmp_path, made.folder, temperature=0) as gateway:
        me = gateway.teachers["me"]
        answers = await together(me.complete(chat(one, me.params)) for one in questions)
    assert [one.text for one in answers if isinstance(one, Completion)] == said


def test_a_run_asks_a_student_and_names_who_taught_it(tmp_path: Path) -> None:
    taught(tmp_path / "student")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a lost card"}\n', encoding="utf-8")
    asking = {"use": "generate", "with": {"teacher": "me"}}
    pipeline = {
        "name": "asks",
        "source": {"jsonl": "rows.jsonl"},
        "teachers": {"me": {"student": {"folder": "student"}}},
        "steps": [asking],
        "export": {"format": "rows"},
    }
    (tmp_path / "asks.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    ran = finished("run", "asks.yaml", "--out", "out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (row,) = read_rows(tmp_path / "out" / "rows" / "rows.parquet")
    assert row.fields["response"] == "card"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["simulated"] == ["me"]
    card = (tmp_path / "out" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "taught by: t: SIMULATED, world `tickets`" in card


# --------------------------------------------------------------------------------- likelihood


async def test_likelihood_masks_the_prompt(tmp_path: Path, folder: Path, writer: Writer) -> None:
    prompt, response = "Where is my order?", "the parcel is late"
    messages = [{"role": "user", "content": prompt}]
    answered = [*messages, {"role": "assistant", "content": response}]
    opening = writer.chat_tokens(messages)
    whole = writer.chat_tokens(answered, opens=False)
    assert whole[: len(opening)] == opening
    expected = [value for value in writer.logprobs([whole])[0][len(opening) :] if value]
    async with opened(tmp_path, folder, temperature=0.5, seed=1) as gateway:
        me = gateway.teachers["me"]
        question = chat(prompt, me.params)
        told = await likelihood(me, question, response)
        alone = await likelihood(me, question, response, alone=True)
        assert told.tokens == len(expected)  # with the token that ends the turn
        assert told.mean_logprob == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        tokens = writer.raw_tokens(response)
        by_itself = [value for value in writer.logprobs([tokens])[0] if value is not None]
        assert alone.tokens == len(by_itself)
        assert alone.mean_logprob == pytest.approx(sum(by_itself) / len(by_itself), abs=1e-4)
        both = compared(told.places, alone.places)  # the tokens that IFD compares
        assert both is not None
        assert both.tokens == alone.tokens
        assert both.alone == pytest.approx(-alone.mean_logprob)
        before = me.stats.counts().hits
        other = await likelihood(me, question, "no")
        assert me.stats.counts().hits == before + 1  # the same prompt was scored already
        shipped = load_prompt("generate/respond", folders=[ROOT / "prompts"])
        kit = Kit(Desk(step="s", teachers={"me": me}, prompts={shipped.name: shipped}), "row")
        by_kit = await kit.likelihood(shipped.name, {"instruction": prompt}, response, teacher="me")
        assert by_kit == told  # what a step is told, from the ledger
        assert tuple(kit.keys) == told.keys
        assert other.mean_logprob != told.mean_logprob


# ----------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"student": {"folder": "x"}, "model": "m"}, "model belongs to an `endpoint`"),
        ({"student": {"folder": "x"}, "endpoint": "http://x"}, "exactly one of"),
        ({"student": {"folder": "x"}, "params": {"top_k": 3}}, "top_k is unknown to a student"),
        ({"student": {"folder": "x"}, "params": {"temperature": -1}}, "temperature"),
    ],
)
def test_settings_that_do_not_fit_are_said(block: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TeacherConfig.model_validate(block)


def test_a_folder_without_a_student_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    for wanted, said in (("nowhere", "there is no folder nowhere"), (".", "is no model")):
        config = TeacherConfig.model_validate({"student": {"folder": wanted}})
        with pytest.raises(UserError, match=said):
            check_teachers({"me": config}, base=tmp_path, budget=BudgetConfig(), offline=False)
