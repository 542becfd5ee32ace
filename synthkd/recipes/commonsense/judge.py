"""`commonsense.judge`: of a part of the triples, whether they hold; the labels of a critic.

    - use: commonsense.judge
      with: {teacher: judge, share: 0.2}
    - use: critic
      with: {fields: [head, relation, tail], label: valid, split: split}

Whole heads are judged or not, drawn by the hash of the head: the same in every run, whatever else
is in the table. Labels of people can stand in the field in its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from synthkd.config import Share
from synthkd.graphs.relations import share_of
from synthkd.inputs import inputs_of
from synthkd.recipes.commonsense.corpus import part_of
from synthkd.recipes.label import read_label
from synthkd.recipes.replies import loss_of
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step

HOLDS, FAILS = "holds", "fails"
"""No words that "not" turns into the other: "it is not valid" names the label valid."""


class JudgeSettings(StepSettings):
    """Settings of `commonsense.judge`."""

    teacher: str
    """Whom to ask."""
    prompt: str = "commonsense/holds"
    """The prompt; asks for `holds` or `fails`."""
    head: str = "head"
    """The field by which rows are judged together."""
    share: Share = 0.2
    """Of the heads, so much is judged."""
    into: str = "valid"
    """The field for the label: true, false, or null where nobody was asked."""


@step(
    "commonsense.judge",
    needs=lambda config: [config.head],
    gives=lambda config: [config.into],
    supplies=("labels",),
)
async def judge(row: Row, kit: Kit, config: JudgeSettings, /) -> AsyncIterator[Row]:
    """Ask whether the triple holds, if its head is among those that are judged.

    A row that has a label keeps it. Discards `bad_label` and what else keeps a reply from being
    read: the row stays, without a label. A row whose judge does not answer fails.
    """
    known = row.fields.get(config.into)
    drawn = share_of(part_of(row, config.head), "judge", kit.desk.seed)
    if known is not None or drawn >= config.share:
        yield row.with_fields(**{config.into: known})
        return
    labels = [HOLDS, FAILS]
    inputs = inputs_of(row, kit.prompts[config.prompt].inputs, labels=labels)
    reply = await kit.ask(config.prompt, inputs, teacher=config.teacher)
    loss = loss_of(reply)
    said = None if loss is not None else read_label(reply.text, labels)
    loss = loss or (said.loss if said is not None else None)
    if loss is not None:
        kit.discard(loss.reason, loss.detail)
    holds = None if said is None or said.label is None else said.label == HOLDS
    yield row.with_fields(**{config.into: holds})
