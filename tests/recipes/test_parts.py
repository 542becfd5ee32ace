from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.recipes.parts import TAGS, Parts, has_tags, read_parts, tagged

TEXTS = st.text(max_size=60).filter(lambda text: text.strip() and not has_tags(text))


@given(TEXTS, TEXTS, st.sampled_from(TAGS))
@settings(max_examples=50)
def test_what_is_put_together_comes_apart(
    thought: str, solution: str, tags: tuple[str, str]
) -> None:
    parts = read_parts(tagged(thought, solution, tags), solution_tags=())
    assert (parts.thought, parts.solution) == (thought.strip(), solution.strip())
    assert parts.fault is None


@given(st.lists(st.sampled_from([*TAGS[0], *TAGS[1], "<solution>", "</solution>", "a ", "b\n"])))
@settings(max_examples=100)
def test_any_order_of_tags_is_two_parts_or_a_fault(pieces: list[str]) -> None:
    parts = read_parts("".join(pieces))
    assert (parts.fault is None) == bool(parts.thought and parts.solution and not parts.detail)
    assert not has_tags(parts.thought + parts.solution)


@pytest.mark.parametrize(
    ("text", "thought", "solution"),
    [
        ("<think>a</think>b", "a", "b"),
        ("<THINK>\na\n</Think>\n\nb\n", "a", "b"),
        ("a</think>b", "a", "b"),  # the opening tag was in the prompt
        ("Sure. <think>a</think>b", "a", "b"),
        (
            "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>b<|end_of_solution|>",
            "a",
            "b",
        ),
        ("<think>a</think>so: <answer>b</answer> as said", "a", "b"),
        ("<think>a</think><solution>b", "a", "b"),
    ],
)
def test_two_parts(text: str, thought: str, solution: str) -> None:
    assert read_parts(text) == Parts(thought=thought, solution=solution)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no_thought"),
        ("The answer is 4.", "no_thought"),
        ("<think>\n\n</think>\n\nThe answer is 4.", "no_thought"),
        ("<think>a", "no_solution"),
        ("<think>a</thought>b", "no_solution"),
        ("<think>a</think>  \n", "no_solution"),
        ("<think>a</think>b<think>c</think>d", "several_thoughts"),
        ("<think>the tag <think> opens</think>b", "several_thoughts"),
        ("</think>a<think>", "several_thoughts"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "several_solutions"),
    ],
)
def test_what_is_not_two_parts(text: str, fault: str) -> None:
    assert read_parts(text).fault == fault


@pytest.mark.parametrize("text", ["", "<think>a", "<think>a</think>", "<think>a</think>b"])
def test_a_reply_that_was_cut_is_truncated_whichever_part_the_end_fell_into(text: str) -> None:
    assert read_parts(text, cut_short=True).fault == "truncated"


def test_the_thought_of_the_provider_is_kept_apart() -> None:
    assert read_parts("b", reasoning=" a ") == Parts(thought="a", solution="b")
    assert read_parts("b", reasoning=" ").fault == "no_thought"
    assert read_parts("<think>a</think>b", reasoning="a") == Parts(thought="a", solution="b")
    assert read_parts("<think>c</think>b", reasoning="a").fault == "several_thoughts"
