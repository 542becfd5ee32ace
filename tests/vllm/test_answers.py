"""What a real vLLM server answers, and that nothing of it is lost on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from synthkd.rows import Fields
from synthkd.teachers.request import Request
from tests.vllm.asking import asking, chat, raw

STREAMED = pytest.mark.parametrize("stream", [False, True])


@STREAMED
async def test_a_chat_answer_says_how_it_ended_and_what_it_took(
    vllm_url: str, tmp_path: Path, stream: bool
) -> None:
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:
        whole = await teacher.complete(chat(seed=1, min_tokens=3, max_tokens=1000))
        cut = await teacher.complete(chat(seed=1, min_tokens=3, max_tokens=3))
    assert (whole.finish, cut.finish) == ("stop", "length")
    assert whole.text.startswith(cut.text)
    assert (whole.usage.prompt_tokens, cut.usage.completion_tokens) == (13, 3)
    assert (whole.usage.completion_tokens or 0) > 3
    assert whole.served_model == "tiny"
    assert (whole.fingerprint or "").startswith("vllm-")


@STREAMED
async def test_raw_text_goes_on_without_a_template(
    vllm_url: str, tmp_path: Path, stream: bool
) -> None:
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:
        answer = await teacher.complete(raw("Where is", max_tokens=4, min_tokens=4, seed=1))
    assert answer.finish == "length"
    assert answer.text
    assert answer.usage.prompt_tokens == 4
    assert answer.usage.completion_tokens == 4


async def test_samples_are_several_answers_and_a_seed_makes_them_the_same_again(
    vllm_url: str, tmp_path: Path
) -> None:
    told = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        async with asking(vllm_url, tmp_path / name) as teacher:
            told.append(
                [
                    (await teacher.complete(chat(seed=7, min_tokens=8, sample=sample))).text
                    for sample in range(4)
                ]
            )
            assert teacher.stats.attempts == 4
    assert told[0] == told[1]
    assert len(set(told[0])) == 4


@STREAMED
async def test_log_probabilities_of_a_chat_answer(
    vllm_url: str, tmp_path: Path, stream: bool
) -> None:
    question = chat(seed=1, min_tokens=6, max_tokens=6, logprobs=True, top_logprobs=3)
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:
        answer = await teacher.complete(question)
    assert "".join(one.token for one in answer.logprobs) == answer.text
    assert len(answer.logprobs) == answer.usage.completion_tokens
    for one in answer.logprobs:
        assert one.logprob <= 0
        assert len(one.top) >= 3
        assert sum(math.exp(logprob) for _, logprob in one.top) <= 1.0001


@STREAMED
async def test_log_probabilities_of_raw_text(vllm_url: str, tmp_path: Path, stream: bool) -> None:
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:
        answer = await teacher.complete(raw(seed=1, min_tokens=6, max_tokens=6, logprobs=3))
    assert "".join(one.token for one in answer.logprobs) == answer.text
    assert len(answer.logprobs) == answer.usage.completion_tokens
    assert all(len(one.top) >= 3 for one in answer.logprobs)


@pytest.mark.parametrize("question", [chat, raw])
async def test_log_probabilities_of_the_prompt(
    vllm_url: str, tmp_path: Path, question: Callable[..., Request]
) -> None:
    # vLLM refuses them in a stream, so these are not streamed.
    async with asking(vllm_url, tmp_path, stream=True) as teacher:
        answer = await teacher.complete(question("Where is it?", max_tokens=2, prompt_logprobs=2))
        again = await teacher.complete(question("Where is it?", max_tokens=2, prompt_logprobs=2))
    first, *others = answer.prompt_logprobs
    assert first is None
    assert len(others) + 1 == answer.usage.prompt_tokens
    told = [one for one in others if one is not None]
    assert len(told) == len(others)
    assert "here is it?" in "".join(one.token for one in told)
    assert all(one.logprob <= 0 and len(one.top) >= 2 for one in told)
    assert again.hit
    assert again.prompt_logprobs == answer.prompt_logprobs


@STREAMED
async def test_a_schema_is_kept_to(vllm_url: str, tmp_path: Path, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
        "required": ["label", "score"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:
        for seed in range(5):
            answer = await teacher.complete(chat(seed=seed, response_format=form, max_tokens=400))
            if answer.finish == "stop":
                told = orjson.loads(answer.text)
                assert told["label"] in {"good", "bad"}
                assert isinstance(told["score"], int)
                break
        else:
            pytest.fail("no answer of five ended")


@STREAMED
async def test_structured_outputs_are_kept_to(vllm_url: str, tmp_path: Path, stream: bool) -> None:
    shape: Fields = {
        "type": "object",
        "properties": {"urgent": {"type": "boolean"}},
        "required": ["urgent"],
        "additionalProperties": False,
    }
    async with asking(vllm_url, tmp_path, stream=stream) as teacher:

        async def told(constraint: Fields) -> str:
            answer = await teacher.complete(chat(seed=3, structured_outputs=constraint))
            assert answer.finish == "stop"
            return answer.text

        assert await told({"choice": ["order status", "refund"]}) in {"order status", "refund"}
        assert re.fullmatch("[0-9]{4}-[0-9]{2}", await told({"regex": "[0-9]{4}-[0-9]{2}"}))
        assert isinstance(orjson.loads(await told({"json": shape}))["urgent"], bool)
