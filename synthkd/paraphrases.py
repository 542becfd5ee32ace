"""The same held-out rows asked in other words: teachers by other prompts, a student by templates.

    evaluate: {ask: label, paraphrases: {ask: [label/briefly], student: [reword/polite]}}

A teacher's wording is a prompt file that stands in for that of the asked step, with no other
inputs; all else is the step's own. A student's wording is a template with the one input `text`:
what the student would have been asked with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synthkd.config import DpoConfig, TaskConfig
from synthkd.errors import ConfigError, PromptError, UserError
from synthkd.plan import BoundRowStep, Plan, asked_step
from synthkd.prompts import Prompt, load_prompt, shipped_folder

OWN = "as it is"
"""The wording that all else is measured with."""


def check_paraphrases(plan: Plan) -> None:
    """Check what `evaluate.paraphrases` names, before anything is spent.

    Raises:
        ConfigError: with every fault.
    """
    evaluate = plan.config.evaluate
    if evaluate is None or evaluate.paraphrases is None:
        return
    faults = [*_faults(plan, evaluate.paraphrases.student, _template, "student")]
    if evaluate.paraphrases.ask and evaluate.ask is None:
        faults.append("ask: needs `evaluate.ask`, the step that asks the teachers")
    else:
        faults += _faults(plan, evaluate.paraphrases.ask, _asked_with, "ask")
    takes_prompt = isinstance(plan.config.student, TaskConfig | DpoConfig)
    if evaluate.paraphrases.student and not takes_prompt:
        faults.append("student: needs a student that takes a prompt (sft, seq2seq, dpo)")
    if faults:
        raise ConfigError([f"{plan.place}: evaluate.paraphrases.{fault}" for fault in faults])


def wordings_of_step(plan: Plan) -> list[tuple[str, BoundRowStep]]:
    """The asked step with each of the other prompts."""
    evaluate = plan.config.evaluate
    if evaluate is None or evaluate.paraphrases is None:
        return []
    return [(name, _asked_with(plan, name)) for name in evaluate.paraphrases.ask]


def wordings_of_texts(plan: Plan, texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What the student is asked with, in each of the other words."""
    evaluate = plan.config.evaluate
    if evaluate is None or evaluate.paraphrases is None:
        return
    for name in evaluate.paraphrases.student:
        prompt = _template(plan, name)
        yield name, [str(prompt.render({"text": text})[-1]["content"]) for text in texts]


def _faults(plan: Plan, names: Iterable[str], made: Any, setting: str) -> Iterator[str]:
    for name in names:
        try:
            made(plan, name)
        except (PromptError, UserError) as error:
            yield f"{setting}: {name}: {error}"


def _asked_with(plan: Plan, name: str) -> BoundRowStep:
    """The asked step with another prompt."""
    assert plan.config.evaluate is not None  # noqa: S101  the caller has looked
    bound = asked_step(plan, plan.config.evaluate.ask or "")
    own = bound.prompts.get(str(getattr(bound.config, "prompt", None)))
    if own is None:
        raise UserError(f"the step {bound.label!r} has no `prompt` that another could stand in for")
    other = load_prompt(name, folders=_folders(plan))
    if other.path.samefile(own.path):
        raise UserError("is what the step asks anyway, which is measured as it is: leave it out")
    if more := sorted(set(other.inputs) - set(own.inputs)):
        raise UserError(f"has the inputs {more}, which {own.name} has not: it cannot stand in")
    if (other.output, other.api) != (own.output, own.api):
        raise UserError(
            f"is of output {other.output!r} ({other.api}) and {own.name} of {own.output!r}"
            f" ({own.api}): the step would read its answers otherwise"
        )
    config = bound.config.model_copy(update={"prompt": name})
    prompts = {**bound.prompts, name: other}
    del prompts[own.name]
    return replace(bound, config=config, prompts=prompts)


def _template(plan: Plan, name: str) -> Prompt:
    """A template of the student's text."""
    prompt = load_prompt(name, folders=_folders(plan))
    if prompt.inputs != ("text",) or prompt.api != "chat" or len(prompt.blocks) != 1:
        raise UserError("a wording of the student's text has one message, and one input, `text`")
    return prompt


def _folders(plan: Plan) -> list[Path]:
    """As the prompts of steps are looked for."""
    return [plan.folder, plan.folder / "prompts", Path("prompts"), shipped_folder("prompts")]
