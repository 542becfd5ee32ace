"""Direct preference optimisation of a causal model (arXiv 2305.18290): to be read top to bottom.

From rows with a prompt, an answer that is preferred and one that is not. TRL's DPOTrainer does the
steps; the reference is the base: with adapters the same weights without them, else a second copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from synthkd.config import DpoConfig
from synthkd.errors import NothingToLearn, UserError
from synthkd.rows import Row
from synthkd.students import artefact, causal, data, machine, pretrained, trainer
from synthkd.students.artefact import holds
from synthkd.students.card import about_network, card
from synthkd.students.causal import PREVIEW, Base
from synthkd.students.chat import template_of
from synthkd.students.data import Conversation, Tokenised, Tokens
from synthkd.students.lesson import Lesson, Tell
from synthkd.students.targets import text_of
from synthkd.text import normalised

FORMAT = 1
"""Raised when the same rows and settings would give another student; old ones are trained anew."""


def train(lesson: Lesson, tell: Tell) -> None:
    """Train on the lesson's preferences, unless its folder holds this student already.

    Raises:
        NothingToLearn: the rows cannot teach it.
        UserError: base, tokenizer or settings do not fit.
        TrainingFailed, DiskFailed, Interrupted: as `trainer.train`.
    """
    config = lesson.config
    assert isinstance(config, DpoConfig)  # noqa: S101  that is how it came here
    machine.quiet()

    # 1. What the rows say: each a preferred and a rejected conversation, one after the other.
    rows = list(lesson.examples())
    pairs = list(preferences(config, rows))

    # 2. Whether it is there already.
    texts = [message["content"] for side in pairs for message in side.messages]
    started = pretrained.begun_with(config, texts, lesson.work / "scratch")
    asked_for = (list(map(dict, side.messages)) for side in pairs)
    begun = [started.identity, template_of(config)]
    mark = artefact.fingerprint(FORMAT, config, causal.PACKAGES, asked_for, *begun)
    if holds(lesson.folder, mark):
        with suppress(UserError):  # damaged: nothing else would mend it
            causal.load(lesson.folder)
            return

    # 3. Rows as tokens, looked at before anything is learnt.
    based = config.model_copy(update={"base": started.base, "scratch": None})
    base = causal.load_base(based, tell)
    tokens = data.tokenised(pairs, base.tokenizer, max_length=config.max_length)
    learnt = _whole_pairs(tokens)
    data.check(learnt, rows, config.max_length)
    causal.say(learnt, base, tell)

    # 4. Training, from the newest checkpoint.
    learning = _trainer(config, based, base, learnt.kept, lesson.work / mark[:16], tell)
    trained = trainer.train(learning, config, tell, row_ids=[row.id for row in rows])

    # 5. What is kept.
    if not machine.leads():
        return
    about = {
        **about_network(lesson, mark, causal.PACKAGES, started, trained),
        "rows": len(rows),
        **learnt.figures(),
        "system": causal.common_system(config, rows),
    }
    with artefact.written(lesson.folder, about, card(about)) as folder:
        causal.save(learning, base, based, folder)
        shown = data.preview(learnt, rows, base.tokenizer)
        (folder / PREVIEW).write_text(shown, encoding="utf-8")


def preferences(config: DpoConfig, rows: Sequence[Row]) -> Iterator[Conversation]:
    """Of each row the preferred conversation, then the rejected one.

    Raises:
        NothingToLearn: a value is no text, or both answers are the same.
    """
    for place, row in enumerate(rows):
        system = data.system_of(config, row)
        prompt = text_of(row, config.prompt)
        chosen, rejected = text_of(row, config.chosen), text_of(row, config.rejected)
        if normalised(chosen) == normalised(rejected):
            raise NothingToLearn(
                f"student: row {row.id} prefers {chosen!r:.80} to itself ({config.chosen!r} and"
                f" {config.rejected!r}): reject such rows by a step"
            )
        for answer in (chosen, rejected):
            yield Conversation(row=place, messages=[*system, *data.turns(prompt, answer)])


def _whole_pairs(learnt: Tokenised) -> Tokenised:
    """A row stays only if something of both its answers fits."""
    gone = set(learnt.left_out)
    kept = [tokens for tokens in learnt.kept if tokens.row not in gone]
    return Tokenised(kept=kept, left_out=sorted(gone), split=learnt.split)


def _trainer(
    config: DpoConfig,
    based: DpoConfig,
    base: Base,
    kept: Sequence[Tokens],
    folder: Path,
    tell: Tell,
) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, set_seed
    from trl import DPOConfig, DPOTrainer

    class Dpo(trainer.guarded(DPOTrainer)):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # it is prepared

    set_seed(config.seed)  # adapters begin at random
    table = Dataset.from_list([_pair(*both) for both in zip(kept[::2], kept[1::2], strict=True)])
    settings = trainer.arguments(
        DPOConfig,
        config,
        folder,
        examples=len(table),
        dev=0,
        tell=tell,
        max_length=config.max_length,
        beta=config.beta,
    )
    reference = None
    if base.peft is None:
        dtype = base.model.dtype
        reference = pretrained.load_model(AutoModelForCausalLM, based, dtype=dtype)
    with causal.adapters_fit(config):
        learning = Dpo(
            model=base.model,
            ref_model=reference,
            args=settings,
            train_dataset=table,
            processing_class=base.tokenizer,
            peft_config=base.peft,
        )
    learning.data_collator = trainer.with_rows(learning.data_collator)
    return learning


def _pair(chosen: Tokens, rejected: Tokens) -> dict[str, Any]:
    """What TRL's collator takes: the shared prompt, and what comes after it in each."""
    begins = min(_begin(chosen), _begin(rejected))
    return {
        "prompt_ids": list(chosen.ids[:begins]),
        "chosen_ids": list(chosen.ids[begins:]),
        "rejected_ids": list(rejected.ids[begins:]),
        trainer.ROW: chosen.row,
    }


def _begin(tokens: Tokens) -> int:
    return next(place for place, label in enumerate(tokens.labels) if label != trainer.IGNORED)
