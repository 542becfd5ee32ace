"""`thoughts.target`: thought and solution as the one text that a student learns to write."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import model_validator

from synthkd.curate.fields import text_of
from synthkd.errors import Rejected
from synthkd.recipes.parts import TAGS, has_tags, tagged
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step


class TargetSettings(StepSettings):
    """Settings of `thoughts.target`."""

    thought: str | None = "thought"
    """The field with the thought; null drops it, and the student learns the solution alone."""
    solution: str = "solution"
    """The field with the solution."""
    tags: tuple[str, str] = TAGS[0]
    """What stands around the thought: what the base of the student knows."""
    into: str = "response"
    """The field for the text: the `completion` of `export` and of `student`."""

    @model_validator(mode="after")
    def _two_tags(self) -> TargetSettings:
        opening, closing = self.tags
        if not opening.strip() or not closing.strip() or opening == closing:
            raise ValueError(f"tags must be two different texts, got {list(self.tags)}")
        return self


@step(
    "thoughts.target",
    needs=lambda config: [*([config.thought] if config.thought else []), config.solution],
    gives=lambda config: [config.into],
)
async def target(row: Row, kit: Kit, config: TargetSettings, /) -> AsyncIterator[Row]:
    """Put the thought between tags before the solution, or leave it out.

    Rejects `tag_in_text`: a part that holds one of the tags itself, so that nobody could take the
    two apart again.
    """
    solution = text_of(row, config.solution)
    if config.thought is None:
        yield row.with_fields(**{config.into: solution})
        return
    thought = text_of(row, config.thought)
    for name, part in ((config.thought, thought), (config.solution, solution)):
        if has_tags(part, [config.tags]):
            raise Rejected("tag_in_text", f"{name} holds {' or '.join(config.tags)} itself")
    yield row.with_fields(**{config.into: tagged(thought, solution, config.tags)})
