"""The `student` block: what learns, from which fields of the final rows, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from synthkd.config.settings import Count, Seed, Settings, Share
from synthkd.config.teacher import Price, TeacherConfig

Steps = Annotated[int, Field(ge=1, le=10**8)]
Tokens = Annotated[int, Field(ge=8, le=10**6)]
LearningRate = Annotated[float, Field(gt=0, le=1)]

CUE = "The answer is"
"""Between rationale and completion, in one sequence."""


class LearnerConfig(Settings):
    """What the block has for every kind of student."""

    FIELDS: ClassVar[tuple[str, ...]] = ()
    """The settings that name a field of the rows."""
    ANSWER: ClassVar[str] = "completion"
    """The setting that names what the student learns to answer."""
    seed: Seed = 0
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Students to train, alike but for chance: with `seed`, `seed` + 1, ... The first is the run's;
    the others are there for the evaluation, whose figures are of all."""
    allow_leaks: bool = False
    """Train although held-out rows are among the rows to learn from; the card says so."""

    @model_validator(mode="after")
    def _seeds_are_seeds(self) -> LearnerConfig:
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"seed + seeds must be at most 2^32, got {self.seed} + {self.seeds}")
        return self

    def fields(self) -> Iterator[tuple[str, str]]:
        """Each setting that names a field of the final rows, and the field."""
        for setting in self.FIELDS:
            name = getattr(self, setting)
            if name is not None:
                yield f"student.{setting}", name

    @property
    def asked_with(self) -> tuple[str, str]:
        """The setting that names what the student sees of a held-out row, and the field."""
        return next(self.fields())

    @property
    def answer_field(self) -> str | None:
        """The field with what the student learns to answer; None = inside `messages`."""
        name: str | None = getattr(self, self.ANSWER)
        return name


class LinearConfig(LearnerConfig):
    """TF-IDF and a logistic regression, on a CPU."""

    FIELDS = ("text", "label")
    ANSWER = "label"
    kind: Literal["linear"]
    text: str
    """The field that the student sees."""
    label: str
    """The field that it learns to predict."""
    regularisation: Annotated[float, Field(ge=1e-6, le=1e6)] = 10.0
    """Inverse strength C of the L2 penalty of the logistic regression."""


class ScratchConfig(Settings):
    """A model made from nothing: random weights, and a tokenizer learnt from the rows."""

    hidden_size: Annotated[int, Field(ge=8, le=8192)] = 128
    layers: Annotated[int, Field(ge=1, le=128)] = 4
    """Of a T5: as many in the encoder and as many in the decoder."""
    heads: Annotated[int, Field(ge=1, le=128)] = 4
    tokenizer: Literal["characters", "bytes", "bpe"] = "bpe"
    vocabulary: Annotated[int, Field(ge=300, le=10**6)] = 4096
    """Tokens of a `bpe` tokenizer, at most."""

    @model_validator(mode="after")
    def _whole_heads(self) -> ScratchConfig:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of 2 x heads, {2 * self.heads}"
            )
        return self


class HackingConfig(Settings):
    """Whether the student comes nearer to its teacher and goes away from what is right."""

    golden: Literal["accuracy", "likelihood"] = "accuracy"
    """What is right on the dev rows: an answer that is gold, or how likely gold is (for long
    answers, of which no two are the same)."""
    rows: Annotated[int, Field(ge=1, le=10**6)] = 200
    """Rows to learn from on which the nearness to the teacher is measured."""
    evals: Annotated[int, Field(ge=1, le=1000)] = 3
    """An alarm needs so many evaluations in a row that are worse than the best before."""
    ses: Annotated[float, Field(ge=0, le=100)] = 2.0
    """... each by more than so many standard errors."""


class NetworkConfig(LearnerConfig):
    """What the block has for every neural network that is trained here (extra `train`)."""

    base: str | None = None
    """The model to begin with: a folder, or a name on the hub; safetensors only."""
    revision: str | None = None
    """Of a `base` on the hub."""
    scratch: ScratchConfig | None = None
    """Instead of a base: a new model."""
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    max_steps: Steps | None = None
    """Optimizer steps; ends training before `epochs` do, or after."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Examples in one forward pass of one process."""
    gradient_accumulation: Annotated[int, Field(ge=1, le=4096)] = 1
    """Forward passes to an optimizer step."""
    learning_rate: LearningRate = 2e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: Share = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Share = 0.0
    max_length: Tokens = 1024
    """Tokens of an example; the rest is cut off, and counted."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the GPU has it, fp32 elsewhere."""
    processes: Annotated[int, Field(ge=1, le=64)] | None = None
    """One a GPU; by default as many as there are GPUs, and one on a CPU."""
    gradient_checkpointing: bool = False
    """Less memory for more time."""
    save_every_steps: Steps = 500
    """A killed training goes on from its last checkpoint."""
    evaluate_every_steps: Steps | None = None
    """Measure on the rows held out as dev; None = once an epoch, where there are such rows."""
    best_by: Literal["loss", "accuracy", "macro_f1"] | None = None
    """Keep the checkpoint that is best on dev by this; None = the last."""
    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """End when so many evaluations brought no better `best_by`."""
    hacking: HackingConfig | None = None
    """Look for teacher hacking at each evaluation; `{}` = with the defaults."""
    allow_pickle: bool = False
    """Load a base whose weights are pickles. A pickle can run code."""
    trust_remote_code: bool = False
    """Run the code that a base brings along."""

    @model_validator(mode="after")
    def _one_begin(self) -> NetworkConfig:
        if (self.base is None) == (self.scratch is None):
            raise ValueError("name one to begin with: `base` (a model) or `scratch` (a new one)")
        if self.patience is not None and self.best_by is None:
            raise ValueError("patience needs `best_by`: better by what?")
        return self


class LoraConfig(Settings):
    """Low-rank adapters (LoRA, arXiv 2106.09685) in place of full fine-tuning."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: PositiveFloat = 32.0
    """The adapter's output is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = "all-linear"
    """Which layers get one."""
    quantize: Literal["4bit"] | None = None
    """QLoRA (arXiv 2305.14314): the base in 4-bit NF4; needs bitsandbytes and a GPU."""


class TaskConfig(NetworkConfig):
    """What students that write text have in common."""

    prompt: str | None = None
    """The field that the student sees."""
    completion: str | None = None
    """The field that it learns to answer; with a `rationale`, the label after it."""
    rationale: str | None = None
    """The field with the reasoning that leads to the completion."""
    target: Literal["completion", "rationale_first", "two_task"] = "completion"
    """What is learnt: the completion; the rationale and then the completion in one sequence; or
    each as a task of its own (Distilling Step-by-Step, arXiv 2305.02301)."""
    alpha: Share = 0.5
    """Of `two_task`: weight of the label task; the rationale task has the rest."""
    cue: str = CUE
    """Of `rationale_first`: stands between rationale and completion, and is looked for in what the
    student writes."""
    max_new_tokens: Tokens = 256
    """The longest answer that the student is let write when it is asked."""
    curriculum: bool = True
    """Obey the columns `stage`, `weight` and `order` where the rows have them."""

    @model_validator(mode="after")
    def _rationale_named(self) -> TaskConfig:
        if (self.target != "completion") != (self.rationale is not None):
            raise ValueError(
                f"target {self.target!r} and rationale {self.rationale!r} do not fit: name the"
                " field of the rationale, and say what is to be learnt from it (`rationale_first`"
                " or `two_task`)"
            )
        likelihood = self.hacking is not None and self.hacking.golden == "likelihood"
        if likelihood and self.target == "rationale_first":
            raise ValueError(
                "hacking.golden: held-out rows have no rationale, so the likelihood of gold says"
                " nothing of `rationale_first`: choose `accuracy`"
            )
        if self.best_by == "loss" and self.target == "rationale_first":
            raise ValueError(
                "best_by: held-out rows have no rationale, so the loss says nothing of"
                " `rationale_first`: choose accuracy or macro_f1"
            )
        return self


class SftConfig(TaskConfig):
    """Supervised fine-tuning of a causal model."""

    FIELDS = ("prompt", "messages", "system", "completion", "rationale")
    kind: Literal["sft"]
    messages: str | None = None
    """Instead of prompt and completion: a field with whole conversations."""
    system: str | None = None
    """The field with the system message."""
    lora: LoraConfig | None = None
    """None = full fine-tuning."""
    packing: bool = False
    """Fill each sequence of `max_length` with several examples that do not see each other."""
    chat_template: str | None = None
    """A template file for a base that has none; the shipped one is `chatml`."""

    @model_validator(mode="after")
    def _one_shape(self) -> SftConfig:
        named = [name is not None for name in (self.prompt, self.completion, self.messages)]
        if named not in ([True, True, False], [False, False, True]):
            raise ValueError("name `prompt` and `completion`, or `messages` alone")
        if self.messages is not None and self.rationale is not None:
            raise ValueError(
                "`messages` are learnt as they are: leave `rationale` and `target` out"
            )
        return self


class DpoConfig(NetworkConfig):
    """Direct preference optimisation (arXiv 2305.18290) of a causal model."""

    FIELDS = ("prompt", "chosen", "rejected", "system")
    ANSWER = "chosen"
    kind: Literal["dpo"]
    prompt: str
    chosen: str
    rejected: str
    system: str | None = None
    beta: PositiveFloat = 0.1
    """How hard the student is held to its base."""
    lora: LoraConfig | None = None
    max_new_tokens: Tokens = 256
    chat_template: str | None = None
    learning_rate: LearningRate = 1e-6

    @model_validator(mode="after")
    def _not_measured(self) -> DpoConfig:
        if (self.best_by, self.evaluate_every_steps, self.hacking) != (None, None, None):
            raise ValueError(
                "held-out rows have no rejected answer, so `dpo` cannot be measured on them while"
                " it learns: leave best_by, evaluate_every_steps and hacking out; `evaluate`"
                " compares students afterwards"
            )
        return self


class Seq2SeqConfig(TaskConfig):
    """Fine-tuning of an encoder-decoder such as T5."""

    FIELDS = ("prompt", "completion", "rationale")
    kind: Literal["seq2seq"]
    prompt: str
    completion: str
    learning_rate: LearningRate = 5e-5
    max_new_tokens: Tokens = 64


class EncoderConfig(NetworkConfig):
    """Classification of texts, or of their tokens, by a BERT-like encoder."""

    FIELDS = ("text", "label", "spans")
    ANSWER = "label"
    kind: Literal["encoder"]
    text: str
    label: str | None = None
    """The field with one label a text."""
    spans: str | None = None
    """Instead of a label: the field with `[{start, end, label}, ...]`, offsets in characters."""
    max_length: Tokens = 256
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32

    @model_validator(mode="after")
    def _one_target(self) -> EncoderConfig:
        if (self.label is None) == (self.spans is None):
            raise ValueError("name `label` (one a text) or `spans` (parts of the text)")
        if self.spans and self.hacking is not None and self.hacking.golden == "accuracy":
            raise ValueError("hacking.golden: of spans choose `likelihood`")
        return self


class HostedLimits(Settings):
    """What a provider takes as a training file; the defaults are OpenAI's."""

    min_examples: Count = 10
    max_file_mb: PositiveFloat = 512.0
    """Megabytes (10^6 bytes)."""
    max_example_tokens: Count = 65_536
    """What is longer is cut off; it depends on the base."""


class HostedConfig(LearnerConfig):
    """A fine-tuning job at a provider."""

    FIELDS = ("prompt", "messages", "system", "completion")
    kind: Literal["hosted"]
    base: str
    """The provider's name of the model to begin with."""
    endpoint: str
    """Base URL of an API with files and fine-tuning jobs, such as OpenAI's."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    prompt: str | None = None
    completion: str | None = None
    messages: str | None = None
    """Instead of prompt and completion: a field with whole conversations."""
    system: str | None = None
    """The field with the system message."""
    epochs: Annotated[int, Field(ge=1, le=50)] | None = None
    """None = the provider chooses."""
    batch_size: Count | None = None
    learning_rate_multiplier: PositiveFloat | None = None
    usd_per_million_tokens: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """What the provider charges for training tokens; None = unknown."""
    price: Price | None = None
    """What it charges for asking the student; None = unknown."""
    limits: HostedLimits = HostedLimits()
    poll_s: PositiveFloat = 20.0
    """Seconds between the first two looks at the job; they become rarer, up to ten times."""
    max_new_tokens: Tokens = 256
    """The longest answer that the student is let write when it is asked."""

    def asked_as(self, model: str) -> TeacherConfig:
        """How a model at this endpoint is asked."""
        return TeacherConfig(
            endpoint=self.endpoint,
            model=model,
            api_key_env=self.api_key_env,
            price=self.price,
            params={"temperature": 0, "max_tokens": self.max_new_tokens},
        )

    @model_validator(mode="after")
    def _one_shape(self) -> HostedConfig:
        named = [name is not None for name in (self.prompt, self.completion, self.messages)]
        if named not in ([True, True, False], [False, False, True]):
            raise ValueError("name `prompt` and `completion`, or `messages` alone")
        if self.messages is not None and self.system is not None:
            raise ValueError("`messages` have their own system messages: leave `system` out")
        return self

    @model_validator(mode="after")
    def _one_job(self) -> HostedConfig:
        if self.seeds > 1:
            raise ValueError(
                f"seeds: {self.seeds} jobs would be bought, of which one is used: leave it out, or"
                " run once for each `seed`, in folders of their own, and `synthkd compare` them"
            )
        return self

    @model_validator(mode="after")
    def _no_secrets(self) -> HostedConfig:
        try:
            self.asked_as(self.base)
        except ValidationError as error:  # its own message would fill a screen
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self


StudentConfig = Annotated[
    LinearConfig | SftConfig | DpoConfig | Seq2SeqConfig | EncoderConfig | HostedConfig,
    Field(discriminator="kind"),
]
"""The block; its `kind` says which."""
