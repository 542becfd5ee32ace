"""The same model, asked in this process and through a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.students import kinds
from synthkd.students.local import open_student
from synthkd.teachers.likelihood import likelihood
from synthkd.teachers.open import OpenTeacher, open_teachers
from tests.students.lessons import lesson
from tests.vllm.asking import asking, chat, raw
from tests.vllm.server import served

TEXTS = ("Where is my parcel number 3?", "no", "the answer is late, please refund the money")


@asynccontextmanager
async def in_process(model: Path, folder: Path) -> AsyncIterator[OpenTeacher]:
    """The model as a `student`, with a ledger of its own."""
    pytest.importorskip("torch")
    ledger = SqliteLedger(folder / "student.sqlite")
    block = TeacherConfig.model_validate({"student": {"folder": str(model)}})
    try:
        async with open_teachers(
            {"main": block},
            base=folder,
            ledger=ledger,
            run_id="r",
            budget=BudgetConfig(),
            open_student=open_student,
        ) as gateway:
            yield gateway.teachers["main"]
    finally:
        await ledger.close()


async def test_it_writes_the_same(vllm_url: str, tiny_model: Path, tmp_path: Path) -> None:
    questions = [chat(text, temperature=0) for text in TEXTS]
    questions += [raw(text, temperature=0, stop=["e"]) for text in TEXTS]
    async with (
        asking(vllm_url, tmp_path) as server,
        in_process(tiny_model, tmp_path) as student,
    ):
        for question in questions:
            one, other = await server.complete(question), await student.complete(question)
            assert (one.text, one.finish) == (other.text, other.finish)
            assert one.usage == other.usage


async def test_answers_are_as_likely(vllm_url: str, tiny_model: Path, tmp_path: Path) -> None:
    async with (
        asking(vllm_url, tmp_path) as server,
        in_process(tiny_model, tmp_path) as student,
    ):
        for asked in (chat("Where is it?"), raw("Where is it? ")):
            for alone in (False, True):
                for response in TEXTS:
                    one = await likelihood(server, asked, response, alone=alone)
                    other = await likelihood(student, asked, response, alone=alone)
                    assert one.tokens == other.tokens
                    assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-3)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
async def test_what_training_wrote_is_served_as_it_is(vllm_python: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    answers = {"a mouse": "no", "a whale": "yes, it is", "an ant": "no", "a house": "yes, it is"}
    # Heads of 32 places: vLLM has no attention for fewer on a CPU.
    scratch = {"hidden_size": 64, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    block = {"kind": "sft", "prompt": "q", "completion": "a", "scratch": scratch, "max_length": 64}
    more = {"epochs": 40, "learning_rate": 1e-2, "max_new_tokens": 16}
    rows = [{"q": f"is {thing} big?", "a": answer} for thing, answer in answers.items()]
    made = lesson(tmp_path / "lesson", {**block, **more}, rows)
    kinds.train(made, lambda line: None)
    said = kinds.load(made.folder).predict([row["q"] for row in rows])
    assert said == list(answers.values())
    with served(vllm_python, made.folder, tmp_path / "log", "--max-model-len", "80") as running:
        async with asking(running.url, tmp_path) as server:
            told = [await server.complete(chat(row["q"], temperature=0)) for row in rows]
    assert [one.text for one in told] == said
