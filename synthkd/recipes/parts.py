r"""Reads thought and solution out of what a teacher wrote. Pure: text in, `Parts` out.

    >>> read_parts("<think>\n2 and 2.\n</think>\n\nSo the answer is 4.")
    Parts(thought='2 and 2.', solution='So the answer is 4.', fault=None, detail='')

The rules, in this order:

1. What the provider sends as `reasoning` is the thought, and the text is the solution.
2. Else the thought stands between tags (`TAGS`). The opening one may be missing: many chat
   templates write it into the prompt. What stands before it belongs to nobody.
3. The solution is what follows the thought; of it, what stands between tags of its own where it
   has some (`SOLUTION_TAGS`), whose closing one may be missing.
4. A tag that stands twice is a fault: nobody can tell a second thought from a quoted tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from synthkd.text import tail

Tags = Sequence[tuple[str, str]]

TAGS: Tags = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
)
"""Around the thought, in the open models and datasets that write it into the text."""
SOLUTION_TAGS: Tags = (
    ("<solution>", "</solution>"),
    ("<answer>", "</answer>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
)
"""Around the solution, where there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The two parts of one reply, or why there are not two."""

    thought: str = ""
    """What the teacher thought, without tags."""
    solution: str = ""
    """What it then told, without tags."""
    fault: str | None = None
    """`no_thought`, `no_solution`, `several_thoughts`, `several_solutions` or `truncated`."""
    detail: str = ""
    """The part of the reply that shows the fault."""


def read_parts(
    text: str,
    *,
    reasoning: str | None = None,
    tags: Tags = TAGS,
    solution_tags: Tags = SOLUTION_TAGS,
    cut_short: bool = False,
) -> Parts:
    """Thought and solution of a reply.

    Args:
        text: the reply as it came.
        reasoning: what the provider sent apart as the thought; None or blank = nothing.
        tags: what may stand around the thought, in any capitalisation.
        solution_tags: what may stand around the solution.
        cut_short: whether the reply ended at its `max_tokens`: it is then `truncated`, whichever
            part the end fell into.
    """
    if reasoning is not None and reasoning.strip():
        thought, behind = reasoning, text
        if _found(tags, text):  # it was sent twice
            split = _split(text, tags)
            if isinstance(split, str) or split[0].strip() != reasoning.strip():
                return Parts(thought=reasoning.strip(), fault="several_thoughts", detail=tail(text))
            behind = split[1]
    else:
        split = _split(text, tags)
        if isinstance(split, str):
            cut = cut_short and split in {"no_thought", "no_solution"}
            return Parts(fault="truncated" if cut else split, detail=tail(text))
        thought, behind = split
    inside = _inside(behind, solution_tags)
    parts = {"thought": thought.strip(), "solution": (inside or "").strip()}
    if cut_short:
        return Parts(**parts, fault="truncated", detail=tail(text))
    if inside is None:
        return Parts(**parts, fault="several_solutions", detail=tail(text))
    for name, part in parts.items():
        if not part:
            return Parts(**parts, fault=f"no_{name}", detail=tail(text))
    return Parts(**parts)


def has_tags(text: str, tags: Tags = TAGS) -> bool:
    """Whether a tag of a thought stands in the text."""
    return bool(_found(tags, text))


def tagged(thought: str, solution: str, tags: tuple[str, str] = TAGS[0]) -> str:
    """The two parts as one text, as `read_parts` reads it."""
    opening, closing = tags
    return f"{opening}\n{thought}\n{closing}\n\n{solution}"


def _split(text: str, tags: Tags) -> tuple[str, str] | str:
    """The thought and what stands behind it; or the fault."""
    found = _found(tags, text)
    opened_by = {close.casefold(): opening.casefold() for opening, close in tags}
    ends = [place for place in found if place[0].casefold() in opened_by]
    begins = [place for place in found if place not in ends]
    if not found:
        return "no_thought"
    if (
        len(ends) > 1
        or len(begins) > 1
        or (begins and ends and begins[0].start() > ends[0].start())
    ):
        return "several_thoughts"
    if not ends or (begins and begins[0][0].casefold() != opened_by[ends[0][0].casefold()]):
        return "no_solution"
    return text[begins[0].end() if begins else 0 : ends[0].start()], text[ends[0].end() :]


def _inside(text: str, tags: Tags) -> str | None:
    """What stands between the tags, or all of it where there are none; None = they stand twice."""
    for opening, closing in tags:
        begins, ends = (list(_pattern((tag,)).finditer(text)) for tag in (opening, closing))
        if len(begins) > 1 or len(ends) > 1:
            return None
        if begins:
            closed = ends and ends[0].start() >= begins[0].end()
            return text[begins[0].end() : ends[0].start() if closed else None]
    return text


def _found(tags: Tags, text: str) -> list[re.Match[str]]:
    """Every tag in the text, in order."""
    return list(_pattern(tuple(tag for pair in tags for tag in pair)).finditer(text))


@lru_cache(maxsize=64)
def _pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)) or r"(?!)", re.IGNORECASE)
