from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.gates.repetition import ending_loop, repeated_share
from tests.curate.gates.passing import reason_of

PROSE = " ".join(f"Sentence {n} says what{n} no sentence{n} said before." for n in range(99))


async def test_an_end_that_repeats_a_chunk() -> None:
    told = await reason_of("gate.repetition", {}, PROSE + " and so on" * 200)
    assert told is not None
    assert told.startswith("repetition: text ends by repeating ")


async def test_a_text_that_repeats_itself_without_a_loop_at_its_end() -> None:
    again = "one two three four five six seven eight nine ten " * 20 + PROSE[:300]
    told = await reason_of("gate.repetition", {}, again)
    assert told is not None
    assert "max_share is 0.4" in told
    assert await reason_of("gate.repetition", {"max_share": 1}, again) is None


@pytest.mark.parametrize(
    "text", ["", "a", PROSE, "Title\n" + "=" * 500, "- - " * 300, "\ud800" * 9]
)
async def test_what_is_no_loop(text: str) -> None:
    assert await reason_of("gate.repetition", {}, text) is None


async def test_loops_in_chinese() -> None:
    assert ending_loop("请问您的订单号是多少？" * 100) is not None
    assert repeated_share("请问您的订单号是多少" * 20, words=8) > 0.9


@given(st.text(alphabet="abc \n", min_size=1, max_size=30), st.integers(min_value=2, max_value=12))
def test_the_share_is_what_counting_each_word_gives(chunk: str, times: int) -> None:
    words = (chunk * times).split()
    seen: set[tuple[str, ...]] = set()
    marked = [False] * len(words)
    for start in range(len(words) - 2):
        run = tuple(words[start : start + 3])
        if run in seen:
            marked[start : start + 3] = [True] * 3
        seen.add(run)
    expected = sum(marked) / len(words) if words else 0.0
    assert repeated_share(chunk * times, words=3) == pytest.approx(expected)


async def test_a_text_of_five_megabytes() -> None:
    assert await reason_of("gate.repetition", {}, "ab cd " * 800_000) is not None
