"""`pgkd`: new examples where the student is weak, round by round.

Performance-guided knowledge distillation (arXiv 2411.05045): the teacher sees how the student does
on each label, what it has right, and what it has wrong, the surest mistakes first (hard negatives),
and writes new labelled examples for it. Round 0 hands the labelled rows on as they are; each later
round asks for `per_row` examples a row, so its size does not depend on how well the student does.

Mistakes are taken up label by label, so that the rows' balance of labels stays. `like: any_wrong`
goes where most is wrong, which can skew it (docs/recipes/pgkd.md). The controls are settings:
`shows: []` tells nothing about the student, `hard: false` draws mistakes evenly, and `like: own`
asks for more of what the rows already are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Literal

from pydantic import Field

from synthkd.errors import Rejected
from synthkd.feedback import Example, Feedback
from synthkd.recipes.replies import give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.text import answer_text, equivalent, normalised

Shown = Literal["report", "right", "wrong"]
SUPPLIES = ("label", "text", "said", "labels", "report", "right", "wrong", "n")
"""What the prompt may ask for; none of it need be a field of the row."""


class PgkdSettings(StepSettings):
    """Settings of `pgkd`."""

    teacher: str
    """The teacher that writes examples."""
    text: str
    """The field with the text."""
    label: str
    """The field with its label."""
    prompt: str = "examples/like"
    """The prompt; asks for JSON with `examples`."""
    per_row: Annotated[int, Field(ge=1, le=100)] = 1
    """New examples for each row, in every round but the first."""
    like: Literal["wrong", "any_wrong", "own"] = "wrong"
    """Ask for examples like a dev row of the row's own label that the student has wrong (like the
    row itself where there is none), like one of any label, or like the row itself."""
    hard: bool = True
    """Draw mistakes by how sure the student was of them; else evenly."""
    shows: tuple[Shown, ...] = ("report", "right", "wrong")
    """What the teacher is told about the student."""
    examples: Annotated[int, Field(ge=0, le=100)] = 5
    """How many right and how many wrong answers are shown."""

    @property
    def rows_a_row(self) -> int:
        """Rows that come of one, at most; for the forecast."""
        return self.per_row


def _needs(config: PgkdSettings) -> Iterable[str]:
    return config.text, config.label


@step("pgkd", needs=_needs, gives=_needs, supplies=SUPPLIES, fans_out=True)
async def pgkd(row: Row, kit: Kit, config: PgkdSettings, /) -> AsyncIterator[Row]:
    """New examples where the student is weak; in round 0 the rows themselves.

    Gives the text and the label of each example. Discards `bad_label` (not what was asked for),
    `empty_text`, `copied` (a message that the teacher was shown). Rejects `refused`, `bad_json`,
    `empty_answer`, or `nothing_new` where every example was discarded.
    """
    feedback = kit.feedback
    if feedback is None:
        yield row
        return
    target = _target(row, kit, config, feedback)
    inputs = {**_told(config, feedback), **_asked(target, config)}
    # Many rows may ask the same question: as samples of their own they get answers of their own.
    reply = await kit.ask(config.prompt, inputs, teacher=config.teacher, sample=row.order[0])
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    known = {normalised(example.text) for example in feedback.examples}
    known.add(normalised(str(row.fields[config.text])))
    made = 0
    for text in _texts(reply.shaped.value if reply.shaped else None, target.gold, kit):
        if normalised(text) in known:
            kit.discard("copied", text[:200])
        elif made < config.per_row:
            made += 1
            known.add(normalised(text))
            yield row.with_fields(**{config.text: text, config.label: target.gold})
    if not made:
        raise Rejected("nothing_new", f"no usable example of {target.gold!r} in {reply.text[:200]}")


def _target(row: Row, kit: Kit, config: PgkdSettings, feedback: Feedback) -> Example:
    """What the new examples are to be like."""
    gold = answer_text(row.fields[config.label]) or ""
    wrong = feedback.wrong
    if config.like == "wrong":
        wrong = [one for one in wrong if equivalent(one.gold) == equivalent(gold)]
    if config.like == "own" or not wrong:
        return Example(text=str(row.fields[config.text]), gold=gold, said=None)
    weights = [example.confidence or 1.0 for example in wrong] if config.hard else None
    return kit.rng.choices(wrong, weights)[0]


def _asked(target: Example, config: PgkdSettings) -> dict[str, Json]:
    return {
        "label": target.gold,
        "text": target.text,
        "said": target.said if "wrong" in config.shows else None,
        "n": config.per_row,
    }


def _told(config: PgkdSettings, feedback: Feedback) -> dict[str, Json]:
    """What the teacher is told about the student, which is the same for every row of a round."""
    n = config.examples
    return {
        "labels": list(feedback.report),
        "report": _table(feedback) if "report" in config.shows else "",
        "right": [_shown(one) for one in feedback.right[:n] if "right" in config.shows],
        "wrong": [_shown(one) for one in feedback.wrong[:n] if "wrong" in config.shows],
    }


def _shown(example: Example) -> Json:
    sure = example.confidence
    return {
        "text": example.text,
        "gold": example.gold,
        "said": example.said,
        "confidence": None if sure is None else round(sure, 2),
    }


def _table(feedback: Feedback) -> str:
    """The report as Markdown."""
    lines = ["| label | precision | recall | F1 | messages |", "| --- | --- | --- | --- | --- |"]
    for label, one in feedback.report.items():
        cells = (label, f"{one.precision:.2f}", f"{one.recall:.2f}", f"{one.f1:.2f}", one.support)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _texts(reply: Json, label: str, kit: Kit) -> Iterable[str]:
    """The texts of a reply's examples that are of the label asked for."""
    examples = reply.get("examples") if isinstance(reply, dict) else None
    for example in examples if isinstance(examples, list) else ():
        text = example.get("text") if isinstance(example, dict) else None
        said = answer_text(example.get("label")) if isinstance(example, dict) else None
        if not isinstance(text, str) or not text.strip():
            kit.discard("empty_text", repr(example)[:200])
        elif said is None or equivalent(said) != equivalent(label):
            kit.discard("bad_label", f"asked for {label!r}, got {said!r}: {text[:160]}")
        else:
            yield text
