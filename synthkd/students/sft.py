"""Supervised fine-tuning of a causal model: to be read from top to bottom.

TRL's SFTTrainer does the steps and PEFT the adapters. Ours are the labels (`data.py`), the order
and weight of rows (`curriculum.py`), checkpoints and failures (`trainer.py`), and what is kept of
the model (`causal.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from synthkd.config import SftConfig
from synthkd.errors import UserError
from synthkd.students import artefact, causal, data, hacking, machine, pretrained, trainer
from synthkd.students.artefact import holds
from synthkd.students.card import about_network, card
from synthkd.students.causal import PREVIEW, Base
from synthkd.students.chat import template_of, training_template
from synthkd.students.curriculum import Course, Curriculum, curriculum
from synthkd.students.data import Conversation, Tokenised
from synthkd.students.lesson import HeldOutRow, Lesson, Tell
from synthkd.students.targets import question
from synthkd.text import normalised

FORMAT = 1
"""Raised when the same rows and settings would give another student; old ones are trained anew."""


def train(lesson: Lesson, tell: Tell) -> None:
    """Fine-tune on the lesson's rows, unless its folder holds this student already.

    Raises:
        NothingToLearn: the rows cannot teach it.
        UserError: base, tokenizer or settings do not fit.
        TrainingFailed, DiskFailed, Interrupted: as `trainer.train`.
    """
    config = lesson.config
    assert isinstance(config, SftConfig)  # noqa: S101  that is how it came here
    machine.quiet()

    # 1. What the rows say.
    rows = list(lesson.examples())
    lessons = list(data.conversations(config, rows))
    course = curriculum(rows, obeyed=config.curriculum)
    dev = lesson.dev_rows()

    # 2. Whether it is there already.
    started = pretrained.begun_with(config, _texts(lessons), lesson.work / "scratch")
    mark = artefact.fingerprint(
        FORMAT,
        config,
        causal.PACKAGES,
        ([x.row, list(map(dict, x.messages)), x.explains] for x in lessons),
        started.identity,
        template_of(config),
        [list(course.stages), course.orders, course.weights],
        [[row.text, row.gold] for row in dev],
    )
    if holds(lesson.folder, mark):
        with suppress(UserError):  # damaged: nothing else would mend it
            causal.load(lesson.folder)
            return

    # 3. Rows as tokens, looked at before anything is learnt.
    based = config.model_copy(update={"base": started.base, "scratch": None})
    base = causal.load_base(based, tell)
    system = causal.common_system(config, rows)
    learnt = _tokens(config, lessons, base.tokenizer)
    data.check(learnt, rows, config.max_length)
    causal.say(learnt, base, tell)
    answers = {normalised(lesson.messages[-1]["content"]) for lesson in lessons}
    if len(answers) == 1 and len(lessons) > 1:
        tell(f"all answers are the same, {answers.pop()!r:.80}: it will give no other")
    examples = _examples(config, learnt, course)
    measured = _dev_examples(config, dev, system, base.tokenizer)

    # 4. Training, from the newest checkpoint.
    learning = _trainer(config, base, examples, measured, lesson.work / mark[:16], tell)
    learning.dev, learning.system, learning.student = dev, system, config
    learning.proxy = data.dataset(hacking.sample(learnt.kept, config))
    trained = trainer.train(learning, config, tell, row_ids=[row.id for row in rows])

    # 5. What is kept.
    if not machine.leads():
        return
    about = {
        **about_network(lesson, mark, causal.PACKAGES, started, trained),
        "rows": len(rows),
        **learnt.figures(),
        "packing": examples.packing,
        "curriculum": course.says,
        "system": system,
    }
    with artefact.written(lesson.folder, about, card(about)) as folder:
        causal.save(learning, base, based, folder)
        shown = data.preview(learnt, rows, base.tokenizer)
        (folder / PREVIEW).write_text(shown, encoding="utf-8")


# --- what is learnt


def _texts(lessons: Sequence[Conversation]) -> list[str]:
    return [message["content"] for lesson in lessons for message in lesson.messages]


def _tokens(config: SftConfig, lessons: Sequence[Conversation], tokenizer: Any) -> Tokenised:
    template = training_template(tokenizer) if config.messages is not None else None
    return data.tokenised(lessons, tokenizer, max_length=config.max_length, template=template)


# --- as TRL takes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What the trainer is given."""

    dataset: Any
    stages: Sequence[int]
    orders: Sequence[int] | None
    packing: float | None
    """Share of the packed sequences that is text; None = not packed."""


def _examples(config: SftConfig, learnt: Tokenised, course: Curriculum) -> Examples:
    kept = learnt.kept
    stages = [course.stages[tokens.row] for tokens in kept]
    empty = sorted(set(course.stages) - set(stages))
    if empty:
        raise UserError(
            f"student: nothing of stage {empty[0]} fits into max_length {config.max_length}"
        )
    weights = _weights(config, learnt, course)
    if not config.packing:
        orders = course.orders and [course.orders[tokens.row] for tokens in kept]
        table = data.dataset(kept, weights)
        return Examples(dataset=table, stages=stages, orders=orders, packing=None)
    if course.orders is not None:
        raise UserError(
            "student.packing fills sequences by length, and the rows ask for an `order`: leave"
            " packing out, or set student.curriculum: false"
        )
    return _packed(config, learnt, stages, weights)


def _weights(config: SftConfig, learnt: Tokenised, course: Curriculum) -> list[float] | None:
    """The weight of each example's loss: what its row asks for, times that of its task.

    The loss of a step is the sum over its tokens by their number. For `two_task` the weights make
    that, over all rows, alpha x (mean over label tokens) + (1 - alpha) x (mean over rationale
    tokens): long rationales do not drown short labels (arXiv 2305.02301, equation 4, per token).
    """
    if course.weights is None and config.target != "two_task":
        return None
    task = {False: 1.0, True: 1.0}
    if config.target == "two_task":
        share = {False: config.alpha, True: 1 - config.alpha}
        tokens = {
            explains: sum(t.n_learnt for t in learnt.kept if t.explains is explains)
            for explains in (False, True)
        }
        total = sum(tokens.values())
        task = {which: share[which] * total / max(1, tokens[which]) for which in task}
    rows = course.weights or [1.0] * len(course.stages)
    return [task[tokens.explains] * rows[tokens.row] for tokens in learnt.kept]


def _packed(
    config: SftConfig, learnt: Tokenised, stages: Sequence[int], weights: list[float] | None
) -> Examples:
    """Best-fit decreasing (arXiv 2404.10830), a stage at a time."""
    from datasets import concatenate_datasets
    from trl import pack_dataset

    parts, stage_of = [], []
    for stage in sorted(set(stages)):
        chosen = [place for place, of in enumerate(stages) if of == stage]
        kept = [learnt.kept[place] for place in chosen]
        table = data.dataset(kept, weights and [weights[place] for place in chosen])
        # Packing takes columns with a value a token.
        rows = [[tokens.row] * len(tokens.ids) for tokens in kept]
        table = table.remove_columns(trainer.ROW).add_column(trainer.ROW, rows)
        packed = pack_dataset(table, config.max_length, "bfd", {"batch_size": 10_000})
        parts.append(packed)
        stage_of += [stage] * len(packed)
    table = concatenate_datasets(parts)
    used = sum(len(tokens.ids) for tokens in learnt.kept) / (len(table) * config.max_length)
    return Examples(dataset=table, stages=stage_of, orders=None, packing=round(used, 4))


# --- measured on dev


def _dev_examples(
    config: SftConfig, dev: Sequence[HeldOutRow], system: str | None, tokenizer: Any
) -> Any:
    """The held-out rows as examples; None = there is nothing to measure on."""
    before = causal.asked("", system)[:-1]
    kept = [
        Conversation(
            row=place,
            messages=[*before, *data.turns(question(config, row.text), row.gold or "")],
        )
        for place, row in enumerate(dev)
    ]
    tokens = data.tokenised(kept, tokenizer, max_length=config.max_length).kept
    return data.dataset(tokens) if tokens else None


# --- the trainer


def _trainer(
    config: SftConfig, base: Base, examples: Examples, dev: Any, folder: Path, tell: Tell
) -> Any:
    from transformers import set_seed
    from trl import SFTConfig

    set_seed(config.seed)  # adapters begin at random
    settings = trainer.arguments(
        SFTConfig,
        config,
        folder,
        examples=len(examples.dataset),
        dev=len(dev) if dev is not None else 0,
        tell=tell,
        max_length=config.max_length,
        packing=config.packing,
        eval_packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # it is prepared
    )
    with causal.adapters_fit(config):
        learning = _sft_trainer()(
            model=base.model,
            args=settings,
            train_dataset=examples.dataset,
            eval_dataset=dev,
            processing_class=base.tokenizer,
            peft_config=base.peft,
        )
    learning.course = Course(examples.stages, config.seed, examples.orders)
    learning.data_collator = trainer.with_rows(_with_weights(learning.data_collator))
    return learning


def _sft_trainer() -> Any:
    """TRL's trainer with weights of the loss, and answers measured on dev."""
    from trl import SFTTrainer

    class Sft(trainer.guarded(SFTTrainer)):  # type: ignore[misc]
        student: SftConfig
        dev: Sequence[HeldOutRow] = ()
        system: str | None = None

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            weights = inputs.pop("weights", None)
            if weights is None:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            losses = -outputs.log_probs * weights[:, 1:]  # (batch, tokens - 1), 0 where masked
            items = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
            loss = losses.sum() / items
            # The items are those of all processes, and gradients are averaged over processes.
            together = self.args.average_tokens_across_devices and num_items_in_batch is not None
            return loss * self.accelerator.num_processes if together else loss

        def evaluation_loop(self, *args: Any, **named: Any) -> Any:
            output = super().evaluation_loop(*args, **named)
            if self.student.target == "rationale_first":
                output.metrics.pop("eval_loss", None)  # of a label without its rationale
            if trainer.answers_wanted(self.student):
                model = self.accelerator.unwrap_model(self.model)
                texts = [row.text for row in self.dev]
                said = causal.answers(
                    model, self.processing_class, self.student, texts, self.system
                )
                output.metrics.update(trainer.agreement(said, [row.gold for row in self.dev]))
            return output

    return Sft


def _with_weights(collate: Any) -> Any:
    """The collator, with the weights padded beside what it pads."""

    def both(examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        weights = [e.pop("weights") for e in examples] if "weights" in examples[0] else None
        batch: dict[str, Any] = collate(examples)
        if weights is None:
            return batch
        shape = batch["input_ids"].shape  # (batch, longest), or (1, all) where packed
        padded = torch.zeros(shape)
        rows = [list(chain(*weights))] if shape[0] != len(weights) else weights
        for place, row in enumerate(rows):
            padded[place, : len(row)] = torch.tensor(row)
        return {**batch, "weights": padded}

    return both
