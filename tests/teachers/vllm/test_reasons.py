"""Why a server died, from what vLLM really writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.teachers.vllm.reasons import LINES, reason_of, shown_tail, stage_of, tail_of

CORE = "(EngineCore pid=171) ERROR 11-25 01:06:32 [core.py:1515] "
FOLLOWS = "RuntimeError: Engine core initialization failed. See root cause above."
SETTINGS = (
    "(EngineCore pid=23) INFO 11-25 01:06:38 [core.py:133] Initializing a V1 LLM engine (v0.32.0)"
    " with config: trust_remote_code=False, trust_remote_code=True, MemoryError"
)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "the GPU's mem"),
        (
            "ValueError: Free memory on device cuda:0 (2/79 GiB) is less than desired",
            "something el",
        ),
        ("ValueError: No available memory for the cache blocks.", "what the weights leave"),
        (
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
            "this machine's",
        ),
        ("OSError: [Errno 98] Address already in use", "another program has taken its port"),
        ("ModuleNotFoundError: No module named 'vllm'", "this Python has no vLLM"),
        ("api_server.py: error: unrecognized arguments: --foo", "it does not take these `args`"),
        ("ValueError: Model architectures ['X'] are not supported for now.", "this vLLM does not"),
        ("ValueError: Please pass the argument `trust_remote_code=True`", "the model needs code"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability", "this hardware"),
        ("RuntimeError: Cannot find any model weights with `/m`", "the model has no weights as"),
        ("ValueError: LoRA rank 64 is greater than max_lora_rank 16.", "the adapter's rank"),
        ("RuntimeError: Failed to infer device type", "it finds no GPU that it can use"),
        ("ValueError: something of its own", "ValueError: something of its own"),
    ],
)
def test_the_cause_is_told_and_not_what_follows(line: str, meaning: str) -> None:
    text = f"{SETTINGS}\n{CORE}Traceback (most recent call last):\n{CORE}{line}\n{FOLLOWS}\n"
    reason = reason_of(text, 1)
    assert reason.startswith(meaning)
    assert line.partition(": ")[2] in reason or line in reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-9, "it was killed (SIGKILL), as the system does when its memory runs out"),
        (-15, "it was ended by signal 15"),
        (0, "it ended with exit code 0"),
        (None, "it ended, and so did its watchdog"),
    ],
)
def test_without_a_word_the_exit_code_is_told(code: int | None, reason: str) -> None:
    assert reason_of(f"{SETTINGS}\n", code) == reason


def test_no_control_character_gets_through() -> None:
    text = "\x1b[31mValueError: \x1b[0mred\x07 and \x1b]0;title\x07"
    assert reason_of(text, 1).isprintable()
    assert "".join(shown_tail(text).split("\n")).isprintable()


def test_stages_are_those_of_the_latest_line_that_tells() -> None:
    shards = "Loading safetensors checkpoint shards:  40% Completed | 2/5\rLoading safetensors"
    lines = [SETTINGS, "Starting to load model /m...", shards + " checkpoint shards: 60% Completed"]
    assert stage_of("").startswith("starting")
    assert stage_of(lines[0]).startswith("starting its engine (")
    assert stage_of("\n".join(lines)).startswith("loading weights (Loading safetensors")
    assert "60%" in stage_of("\n".join(lines))


def test_only_the_last_lines_of_this_start_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("an earlier start\n", encoding="utf-8")
    before = log.stat().st_size
    with log.open("a", encoding="utf-8") as opened:
        opened.writelines(f"line {number}\n" for number in range(100))
    tail = shown_tail(tail_of(log, before))
    assert tail.split() == " ".join(f"line {n}" for n in range(100 - LINES, 100)).split()
    assert "earlier" not in tail_of(log, before)
    assert tail_of(tmp_path / "none") == ""
