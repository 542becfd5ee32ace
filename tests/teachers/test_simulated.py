from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.config import SimulatedConfig
from synthkd.errors import AttemptFailed, PromptError, UserError
from synthkd.prompts import Prompt, load_prompt, shipped_folder
from synthkd.rows import Fields
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.simulated import MALFORMED, open_world
from synthkd.teachers.simulated.arithmetic import Arithmetic, solve
from synthkd.teachers.simulated.tickets import INTENTS, Tickets, understand

DATA = Path(__file__).parents[2] / "data"
MANY = 400
"""Requests behind a measured rate: the standard error of a rate of 0.2 is then 0.02."""


def rows(file: str) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in (DATA / file).read_bytes().splitlines()]


@cache
def shipped(prompt: str) -> Prompt:
    return load_prompt(prompt, folders=[shipped_folder("prompts")])


def request(prompt: str, inputs: dict[str, Any], sample: int = 0, **more: Any) -> Request:
    body: Fields = {"model": "simulated", "messages": shipped(prompt).render(inputs)}
    return Request(body=body, prompt=prompt, inputs=inputs, sample=sample, **more)


def ticket(text: str, sample: int = 0, **more: Any) -> Request:
    inputs = {"text": text, "labels": list(INTENTS), "reason": False}
    return request("label/classify", inputs, sample, **more)


def world(**rates: Any) -> Any:
    return open_world(SimulatedConfig.model_validate({"world": "tickets"} | rates))


async def replies(teacher: Any) -> list[Completion]:
    return [await teacher.complete(ticket("Where is my refund?", sample)) for sample in range(MANY)]


def label_of(completion: Completion) -> Any:
    return orjson.loads(completion.text)["label"]


def test_the_world_reads_support_messages() -> None:
    tickets = rows("tickets.jsonl")
    right = sum(understand(row["text"]).intent == row["intent"] for row in tickets)
    assert right / len(tickets) >= 0.93


def test_the_world_solves_word_problems() -> None:
    for row in rows("arithmetic.jsonl"):
        steps = solve(row["question"])
        assert steps is not None, row
        assert str(steps[-1].amount) == row["answer"], row


async def test_a_reply_is_a_function_of_the_request() -> None:
    rates = {"error_rate": 0.3, "run_on_rate": 0.3, "refusal_rate": 0.1, "malformed_rate": 0.1}
    one, again = await replies(world(**rates)), await replies(world(**rates))
    assert [reply.reply for reply in one] == [reply.reply for reply in again]
    other = await replies(world(**rates, seed=1))
    assert [reply.text for reply in one] != [reply.text for reply in other]


async def test_answers_and_refusals_look_as_over_http() -> None:
    (reply, *_) = await replies(world())
    assert (label_of(reply), reply.finish, reply.refusal) == ("refund_status", "stop", None)
    assert reply.usage.completion_tokens == -(-len(reply.text) // 4)
    assert (reply.usage.prompt_tokens or 0) > 50
    (refused, *_) = await replies(world(refusal_rate=1.0))
    assert (refused.text, refused.refusal is not None) == ("", True)


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
async def test_wrong_answers_come_at_the_stated_rate(rate: float) -> None:
    labels = [label_of(reply) for reply in await replies(world(error_rate=rate))]
    assert set(labels) <= set(INTENTS)
    wrong = sum(label != "refund_status" for label in labels) / MANY
    assert wrong == pytest.approx(rate, abs=0.08 if 0 < rate < 1 else 0)


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
async def test_other_faults_come_at_the_stated_rate(rate: float) -> None:
    near = pytest.approx(rate, abs=0.08 if 0 < rate < 1 else 0)
    run_on = await replies(world(run_on_rate=rate))
    assert sum("\n\nMessage:" in reply.text for reply in run_on) / MANY == near
    refused = await replies(world(refusal_rate=rate))
    assert sum(reply.refusal is not None for reply in refused) / MANY == near
    malformed = await replies(world(malformed_rate=rate))
    assert sum(reply.text == MALFORMED for reply in malformed) / MANY == near


async def test_a_429_comes_once_per_request() -> None:
    teacher = world(rate_limit_rate=1.0)
    for sample in range(2):
        with pytest.raises(AttemptFailed) as caught:
            await teacher.complete(ticket("Where is my refund?", sample))
        assert (caught.value.wait_s, caught.value.status) == (0.01, 429)
        for _ in range(2):
            reply = await teacher.complete(ticket("Where is my refund?", sample))
            assert label_of(reply) == "refund_status"


async def test_a_long_answer_is_cut_at_max_tokens() -> None:
    whole = await world().complete(ticket("Where is my refund?", max_tokens=100))
    cut = await world().complete(ticket("Where is my refund?", max_tokens=3))
    assert (cut.text, cut.finish) == (whole.text[:12], "length")
    assert cut.usage.completion_tokens == 3


def test_what_changes_an_answer_is_part_of_who_answers() -> None:
    plain = world().identity
    assert plain.reads_inputs
    assert plain.served_by == ("simulated:tickets:v1:seed=0:error=0:run_on=0:refusal=0:malformed=0")
    for name in ("seed", "error_rate", "run_on_rate", "refusal_rate", "malformed_rate"):
        assert world(**{name: 1}).identity != plain
    assert world(rate_limit_rate=0.5, latency_s=1).identity == plain


def test_an_unknown_world_is_the_users_mistake() -> None:
    said = "no simulated world 'go'; there are arithmetic, .*facts, .*pool, .*tickets"
    with pytest.raises(UserError, match=said):
        open_world(SimulatedConfig(world="go"))


@pytest.mark.parametrize(
    ("prompt", "inputs", "message"),
    [
        ("triples/extract", {"text": "x"}, "cannot do the prompt 'triples/extract'"),
        ("classify", {"text": "x"}, "cannot do the prompt 'classify'"),
        ("label/mine", {"labels": ["refund_status", "login_problem"]}, "reads the input text"),
        ("label/mine", {"text": "x", "labels": ["cat", "dog"]}, "it knows 0"),
        ("judges/mine", {"text": "x"}, "judges the input `candidate`"),
    ],
)
def test_what_the_world_cannot_do(prompt: str, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Tickets().answer(prompt, inputs, random.Random(0))


async def test_labels_are_spelled_as_the_prompt_does() -> None:
    inputs = {"text": "Where is my refund?", "labels": ["Refund status", "Login problem"]}
    reply = await world().complete(request("label/classify", inputs | {"reason": True}))
    assert label_of(reply) == "Refund status"
    assert "refund" in orjson.loads(reply.text)["reason"]


async def test_tickets_reasons_and_replies() -> None:
    inputs = {"text": "Where is my refund?", "labels": list(INTENTS)}
    reply = await world().complete(request("rationale/classify", inputs))
    assert reply.text.endswith("So the answer is refund_status.")
    reply = await world().complete(request("generate/respond", {"instruction": "My refund?"}))
    assert reply.text.startswith("A refund takes")


PEARS = "Ola has 12 pears. She eats two. Then she buys 3 bags of 4. How many pears has she now?"


async def test_arithmetic_writes_down_each_step() -> None:
    teacher = open_world(SimulatedConfig(world="arithmetic"))
    reply = await teacher.complete(request("rationale/question", {"question": PEARS}))
    assert reply.text == (
        "Ola has 12 pears. She eats two: 12 - 2 = 10. "
        "Then she buys 3 bags of 4: 10 + 3 * 4 = 22. So the answer is 22."
    )


async def test_arithmetic_errs_in_the_answer_and_runs_on() -> None:
    teacher = open_world(SimulatedConfig(world="arithmetic", error_rate=1.0, run_on_rate=1.0))
    reply = await teacher.complete(request("rationale/question", {"question": PEARS}))
    answer, _, rest = reply.text.partition("\n\nQ:")
    assert "So the answer is " in answer
    assert "So the answer is 22." not in answer
    assert "So the answer is" in rest


async def test_arithmetic_does_not_guess() -> None:
    teacher = open_world(SimulatedConfig(world="arithmetic"))
    question = {"question": "The moon is far. How many pears has she now?"}
    reply = await teacher.complete(request("rationale/question", question))
    assert "answer is" not in reply.text
    assert solve("How many?") is None


@pytest.mark.parametrize(
    ("name", "question", "right", "wrong"),
    [
        ("tickets", "Where is my refund?", "Refund status", "login_problem"),
        ("arithmetic", PEARS, "It is 1, 2, 22.", "21"),
    ],
)
@pytest.mark.parametrize("error_rate", [0.0, 0.2, 1.0])
async def test_a_judge_is_right_at_the_stated_rate(
    name: str, question: str, right: str, wrong: str, error_rate: float
) -> None:
    judge = open_world(SimulatedConfig(world=name, error_rate=error_rate))
    told = 0
    for sample in range(MANY):
        is_right = sample % 2 == 0
        inputs = {"question": question, "candidate": right if is_right else wrong}
        reply = await judge.complete(request("judges/digit", inputs, sample))
        told += (int(reply.text) >= 5) == is_right
    assert told / MANY == pytest.approx(1 - error_rate, abs=0.08 if 0 < error_rate < 1 else 0)


CRITERIA = [{"name": "good", "asks": "?", "least": 1, "most": 5, "anchors": []}]


@pytest.mark.parametrize(
    ("name", "question", "right", "wrong"),
    [
        ("tickets", "Where is my refund?", "Refund status", "login_problem"),
        ("arithmetic", PEARS, "12 + 10 = 22. So 22.", "21"),
    ],
)
async def test_judges_score_and_compare(name: str, question: str, right: str, wrong: str) -> None:
    judge = open_world(SimulatedConfig(world=name))

    async def says(prompt: str, **inputs: Any) -> Any:
        return orjson.loads(
            (await judge.complete(request(prompt, {"question": question, **inputs}, 0))).text
        )

    for candidate, number in ((right, 5), (wrong, 1)):
        told = await says("judges/rubric", candidate=candidate, criteria=CRITERIA, about="")
        assert told["scores"] == {"good": number}
        digit = await says("judges/digit", candidate=candidate)
        assert digit == (9 if number == 5 else 0)
    for first, second, better in ((right, wrong, "first"), (wrong, right, "second")):
        told = await says("judges/pairwise", first=first, second=second)
        assert told["verdict"] == better
    assert (await says("judges/pairwise", first=wrong, second=wrong))["verdict"] == "tie"
    careless = open_world(SimulatedConfig(world=name, error_rate=1.0))
    inputs = {"question": question, "first": wrong, "second": right}
    reply = await careless.complete(request("judges/pairwise", inputs, 0))
    assert orjson.loads(reply.text)["verdict"] == "first"


@given(st.text(), st.sampled_from(["label/x", "rationale/x", "generate/x", "judges/x"]))
def test_tickets_answer_any_text(text: str, prompt: str) -> None:
    inputs = {"text": text, "candidate": text}
    assert Tickets(error_rate=0.5).answer(prompt, inputs, random.Random(0))


@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["has", "gives", "9" * 12, "splits", "into", "0", ".", "half", "twice"])
        ).map(" ".join),
    )
)
def test_arithmetic_answers_any_text(question: str) -> None:
    inputs = {"question": question, "candidate": question}
    for prompt in ("rationale/x", "judges/x"):
        assert Arithmetic(error_rate=0.5).answer(prompt, inputs, random.Random(0))
