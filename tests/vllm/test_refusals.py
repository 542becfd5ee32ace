"""What a real vLLM server refuses: what it costs a row, what it costs the run, what is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner, Result

from synthkd.cli import app
from synthkd.errors import RequestRefused, TeacherRefused
from synthkd.teachers.request import Request
from tests.vllm.asking import asking, chat
from tests.vllm.server import MODEL

SAY = "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n"
TOO_LONG = "no " * 3000


def pipeline(folder: Path, url: str, texts: list[str], **settings: Any) -> Path:
    """A pipeline that asks each text; `settings` are of the teacher."""
    lines = [{"id": number, "text": text} for number, text in enumerate(texts)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    (folder / "say.md.j2").write_text(SAY, encoding="utf-8")
    params = {"max_tokens": 20, "seed": 1, "min_tokens": 1}
    content = {
        "name": "asked",
        "teachers": {"main": {"endpoint": url, "model": MODEL, "params": params, **settings}},
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [{"use": "generate", "with": {"teacher": "main", "prompt": "say"}}],
    }
    file = folder / "asked.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def asked_so_often(page: str) -> float:
    """Requests that the server has taken in, by its own count."""
    lines = [line for line in page.splitlines() if line.startswith("vllm:request_success_total")]
    return sum(float(line.split()[-1]) for line in lines)


async def test_a_prompt_that_is_too_long_is_refused_once_and_for_good(
    vllm_url: str, tmp_path: Path
) -> None:
    async with asking(vllm_url, tmp_path) as teacher:
        for _ in range(2):
            with pytest.raises(RequestRefused, match="maximum context length is 2048 tokens"):
                await teacher.complete(chat(TOO_LONG))
        assert teacher.stats.attempts == 1, "not retried, and remembered"


def test_a_row_that_is_too_long_fails_and_the_others_do_not(vllm_url: str, tmp_path: Path) -> None:
    file = pipeline(tmp_path, vllm_url, ["Where is it?", TOO_LONG, "Where is my order?"])
    for attempts in (3, 0):
        result = invoke("run", file, "--set", "limits.max_failed=0.5", "--json", "--quiet")
        assert result.exit_code == 0, result.output
        manifest = orjson.loads(result.stdout)
        assert manifest["counts"]["failed"] == 1
        assert manifest["counts"]["kept"] == 2
        assert manifest["teachers"]["main"]["attempts"] == attempts


def test_an_unknown_model_stops_the_run_and_says_so(vllm_url: str, tmp_path: Path) -> None:
    file = pipeline(tmp_path, vllm_url, ["Where is it?"] * 50, model="qwen3-32b")
    result = invoke("run", file, "--quiet")
    assert result.exit_code == TeacherRefused.exit_code == 5
    assert "The model `qwen3-32b` does not exist" in result.output
    assert "Check `endpoint`" in result.output
    assert "`model`" in result.output


async def test_a_model_that_writes_makes_no_vectors_and_says_so_at_once(
    vllm_url: str, tmp_path: Path
) -> None:
    async with asking(vllm_url, tmp_path) as teacher:
        said = r"/embeddings answers HTTP 404: Not Found.* makes no vectors"
        with pytest.raises(ExceptionGroup) as caught:
            await teacher.embedder().embed(["one text", "another text"])
        # One refused request serves both texts: whether the second waiter still hears of it
        # before the first one's failure cancels it is a matter of timing.
        refused, rest = caught.value.split(TeacherRefused)
        assert rest is None
        assert refused is not None
        assert all(re.search(said, str(error)) for error in refused.exceptions)
        assert teacher.stats.attempts == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temperature": -3}, "temperature must be non-negative"),
        ({"structured_outputs": {"nonsense": 1}}, "must use one kind of structured outputs"),
        ({"structured_outputs": {"regex": "[0-9"}}, "regex"),
    ],
)
async def test_a_setting_that_it_does_not_take_is_said_in_its_words(
    vllm_url: str, tmp_path: Path, params: dict[str, Any], said: str
) -> None:
    async with asking(vllm_url, tmp_path) as teacher:
        with pytest.raises(RequestRefused, match=said):
            await teacher.complete(chat(**params))
        assert teacher.stats.attempts == 1


async def test_more_room_than_the_model_has_is_refused(vllm_url: str, tmp_path: Path) -> None:
    question: Request = chat(max_tokens=5000)
    async with asking(vllm_url, tmp_path, stream=False) as teacher:
        with pytest.raises(RequestRefused, match="cannot be greater than max_model_len=2048"):
            await teacher.complete(question)
