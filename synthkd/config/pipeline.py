"""The blocks of a pipeline file around teachers and student: source, steps, export, limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, field_validator, model_validator

from synthkd.answers import AnswerSettings
from synthkd.config.settings import MAX_USD, Count, InFlight, Name, Seed, Settings, Share
from synthkd.config.student import DpoConfig, HostedConfig, SftConfig, StudentConfig
from synthkd.config.teacher import TeacherConfig


class BudgetConfig(Settings):
    """Hard stops for one run, across kills and restarts. None = no limit."""

    usd: Annotated[float, Field(gt=0, le=MAX_USD)] | None = None
    requests: Count | None = None
    tokens: Count | None = None
    """Prompt and completion tokens together."""
    wall_s: PositiveFloat | None = None


class HoldoutConfig(Settings):
    """Rows set aside by the hash of some fields, before anything else sees them."""

    dev: Share = 0.0
    test: Share = 0.0
    by: list[str] = []
    """Rows that agree in these fields, case and white space aside, fall on the same side. Needed,
    unless all rows are held out for one side (`test: 1`), which is for `synthkd eval` alone."""

    @model_validator(mode="after")
    def _something_left(self) -> HoldoutConfig:
        if sorted((self.dev, self.test)) == [0, 1]:
            return self
        if self.dev + self.test >= 1:
            raise ValueError(f"dev + test must leave rows to read, got {self.dev + self.test}")
        if not self.by:
            raise ValueError("by is missing: name fields by which rows fall on one side or another")
        return self


class SourceConfig(Settings):
    """Where the rows come from."""

    jsonl: str | None = None
    csv: str | None = None
    parquet: str | None = None
    hf: str | None = None
    """A Hugging Face dataset: a folder written by save_to_disk, or a name on the hub."""
    config: str | None = None
    """The configuration of an `hf` dataset."""
    split: str = "train"
    """The split of an `hf` dataset."""
    revision: str | None = None
    """The revision of an `hf` dataset on the hub."""
    name: Name | None = None
    """Part of every row's id; by default the file's name, so moving the file changes nothing."""
    id: list[str] = []
    """Fields whose values identify a row; by default its ordinal."""
    beside: dict[str, str] = {}
    """Field -> JSON arrays whose k-th value belongs to the k-th record, as `llm/train_CoT_*.json`
    of Distilling Step-by-Step."""
    limit: Count | None = None
    """Use the first so many rows."""
    where: dict[str, str | int | float | bool | None] = {}
    """Use only rows with these values."""
    holdout: HoldoutConfig | None = None

    @property
    def kind(self) -> Literal["jsonl", "csv", "parquet", "hf"]:
        """Which format it is."""
        for kind in ("jsonl", "csv", "parquet", "hf"):
            if getattr(self, kind) is not None:
                return kind
        raise AssertionError("checked by the validator")

    @property
    def path(self) -> str:
        """The path, or the dataset's name."""
        path: str = getattr(self, self.kind)
        return path

    @model_validator(mode="after")
    def _one_format(self) -> SourceConfig:
        formats = [k for k in ("jsonl", "csv", "parquet", "hf") if getattr(self, k) is not None]
        if len(formats) != 1:
            found = ", ".join(formats) or "none of them"
            raise ValueError(f"must name exactly one of jsonl, csv, parquet, hf; names {found}")
        return self


class StepConfig(Settings):
    """One entry of `steps`."""

    model_config = ConfigDict(populate_by_name=True)

    use: str
    """The registered step, as `synthkd steps` lists it."""
    name: Name | None = None
    """What funnel, rejections, `--set` and chance go by; by default `use`."""
    with_: dict[str, Any] = Field(default={}, alias="with")
    """The step's own settings."""
    in_flight: InFlight | None = None
    """Rows in this step at once; by default its teachers' concurrency."""

    @property
    def label(self) -> str:
        """The name that everything goes by."""
        return self.name or self.use


# As TRL (messages, prompt-completion, preference), Stanford Alpaca and ShareGPT name them. Formats
# without a place for a system message get a column `system` beside them.
COLUMNS_OF_FORMAT: dict[str, tuple[str, ...]] = {
    "rows": (),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt-completion": ("prompt", "completion"),
    "alpaca": ("instruction", "input", "output"),
    "preference": ("prompt", "chosen", "rejected"),
}


class ExportConfig(Settings):
    """How the final rows become dataset/train.parquet and .jsonl."""

    format: Literal["rows", "messages", "prompt-completion", "alpaca", "sharegpt", "preference"] = (
        "rows"
    )
    prompt: str | None = None
    """The field with what the user says."""
    input: str | None = None
    """For `alpaca`: the field with what the instruction is about; by default there is nothing."""
    completion: str | None = None
    """The field with what the assistant answers."""
    system: str | None = None
    """The field with the system message, if there is one."""
    chosen: str | None = None
    rejected: str | None = None
    messages: str | None = None
    """For `messages`: the field with whole conversations, in place of `prompt` and `completion`."""
    tools: str | None = None
    """The field with the tools that the conversations declare; it becomes a column of JSON text,
    and calls and results go out with the messages."""
    keep: list[str] = []
    """Further fields to carry along; for `rows`, the only ones (none named = all)."""

    @model_validator(mode="after")
    def _fields_of_format(self) -> ExportConfig:
        if self.messages is not None or self.tools is not None:
            self._fields_of_conversations()
        if self.input is not None and self.format != "alpaca":
            raise ValueError(
                f"input is of format 'alpaca', not {self.format!r}: elsewhere it belongs to the"
                " prompt, as in the field `prompt` that the step `respond` gives"
            )
        if self.format == "rows":
            return self
        taken = COLUMNS_OF_FORMAT[self.format]
        if twins := [name for name in self.keep if name in taken]:
            raise ValueError(f"keep: {twins[0]!r} is a column of {self.format!r} already")
        needed = ["prompt", "chosen", "rejected"]
        if self.format != "preference":
            needed = ["prompt", "completion"]
        if self.messages is not None:
            needed = ["messages"]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"format {self.format!r} needs {' and '.join(missing)}: name a field")
        return self

    def _fields_of_conversations(self) -> None:
        if self.format != "messages":
            raise ValueError(f"messages and tools are of format 'messages', not {self.format!r}")
        if self.messages is None:
            raise ValueError("tools need messages: the field with conversations that call them")
        if self.prompt is not None or self.completion is not None or self.system is not None:
            raise ValueError(
                "messages are whole conversations, with their own system messages: leave prompt,"
                " completion and system out"
            )
        if self.tools is not None and "tools" in self.keep:
            raise ValueError("keep: 'tools' is a column already")


MetricName = Literal[
    "accuracy",
    "macro_f1",
    "exact_match",
    "numeric_match",
    "answer_match",
    "span_f1",
    "triple_f1",
    "mention_f1",
    "record_f1",
    "record_precision",
    "record_recall",
    "record_exact",
    "record_valid",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "chrf",
]
"""Those of `synthkd.evaluate.metrics`."""


class HarnessConfig(Settings):
    """Tasks of lm-evaluation-harness (extra `harness`), which may fetch data from the hub."""

    tasks: Annotated[list[str], Field(min_length=1)]
    shots: Annotated[int, Field(ge=0, le=100)] | None = None
    """Worked examples before each question; None = as the task says."""
    limit: Count | None = None
    """Documents of each task; None = all."""
    batch_size: Count = 8
    chat_template: bool = False
    """Ask in the model's chat template."""
    include: str | None = None
    """A folder with tasks of your own; their files may name code, which the harness runs."""


class ForgettingConfig(Settings):
    """General questions asked of the student and of its base."""

    jsonl: str | None = None
    """A suite of your own: rows with `prompt` and `answer`; by default the 199 that come along."""
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)] = 48
    """The longest answer."""
    harness: HarnessConfig | None = None
    """The same for tasks of lm-evaluation-harness."""


class ParaphrasesConfig(Settings):
    """Other words for the same questions."""

    ask: list[str] = []
    """Prompts that stand in for that of the asked step, one after the other."""
    student: list[str] = []
    """Templates with the input `text`, for what the student is asked with."""

    @model_validator(mode="after")
    def _once(self) -> ParaphrasesConfig:
        for names in (self.ask, self.student):
            if len(set(names)) < len(names):
                raise ValueError(f"names one twice: {names}")
        return self


class EvaluateConfig(Settings):
    """Base, teachers and student on the same held-out rows."""

    on: Literal["dev", "test"] = "test"
    ask: str | None = None
    """The step that asks the teachers about the same rows, out of the same budget."""
    gold: str | None = None
    """The field with the right answer; by default the `gold` of the step named by `ask`."""
    metrics: Annotated[list[MetricName], Field(min_length=1)] = ["accuracy", "macro_f1"]
    """Those of labels by default; the first one is what money is counted by."""
    answer: AnswerSettings = AnswerSettings()
    """Of `answer_match`: what type an answer has, such as `{type: equation}`."""
    record: str | dict[str, Any] | None = None
    """Of `record_f1` and its kin: the fields of records, or a file of them; None = any."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 1e-6
    """Of `numeric_match`: how far a number may be from gold, times |gold| where that is above 1."""
    bootstrap: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Resamples behind each end of a 95 % interval."""
    forgetting: ForgettingConfig | None = None
    """What the student can no longer do that its base could; `{}` = by our own questions."""
    paraphrases: ParaphrasesConfig | None = None
    """How far the answers depend on the words of the question."""

    @field_validator("answer")
    @classmethod
    def _of_all_rows(cls, value: AnswerSettings) -> AnswerSettings:
        if value.choices is not None:
            raise ValueError("choices of each row are not known here: leave it out, or use labels")
        return value


class LedgerConfig(Settings):
    """How answers are kept; where they are kept is for the command to say (`--ledger`)."""

    durable: Literal["process", "power"] = "process"
    """What an answer survives before it is used: a kill of the process, or a power cut too."""


class LimitsConfig(Settings):
    """How much may be lost before the run stops, resumably. Checked from 100 rows on."""

    max_failed: Share = 0.05
    max_rejected: Share = 0.9
    min_success: dict[str, Share] = {}
    """Step -> the share of the rows coming to it that must get through: a teacher whose answers
    can rarely be used is the wrong one, or wrongly asked."""


class RoundsConfig(Settings):
    """How often the loop goes round; `rounds: 3` is short for `rounds: {count: 3}`."""

    count: Annotated[int, Field(ge=1, le=100)] = 1
    by: Literal["accuracy", "macro_f1"] = "macro_f1"
    """What a student is compared by, on the dev rows."""
    patience: Annotated[int, Field(ge=1, le=100)] | None = None
    """Stop when so many rounds brought no better student."""
    domain: str | None = None
    """The field of dev rows that says of which domain each is, so that steps see the student's
    accuracy by domain (`kit.feedback.domains`)."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"count": value} if isinstance(value, int) else value


class PipelineConfig(Settings):
    """A whole pipeline file."""

    name: Name
    seed: Seed = 0
    teachers: dict[Name, TeacherConfig] = {}
    budget: BudgetConfig = BudgetConfig()
    source: SourceConfig
    steps: list[StepConfig] = []
    export: ExportConfig = ExportConfig()
    student: StudentConfig | None = None
    evaluate: EvaluateConfig | None = None
    rounds: RoundsConfig = RoundsConfig()
    limits: LimitsConfig = LimitsConfig()
    ledger: LedgerConfig = LedgerConfig()

    @model_validator(mode="after")
    def _names(self) -> PipelineConfig:
        seen: set[str] = set()
        for index, step in enumerate(self.steps):
            if step.label in seen:
                raise ValueError(
                    f"steps[{index}] is the second step named {step.label!r}: give it a `name`"
                )
            if step.label in {"source", "export"}:
                raise ValueError(
                    f"steps[{index}] is named {step.label!r}, as the account calls what is lost"
                    " before and after all steps: give it another `name`"
                )
            seen.add(step.label)
        for name in self.limits.min_success:
            if name not in seen:
                raise ValueError(f"limits.min_success: no step is named {name!r}")
        if "student" in self.teachers and isinstance(self.student, HostedConfig):
            raise ValueError(
                "teachers.student: a hosted student is asked under this name: give the teacher"
                " another"
            )
        asked = self.evaluate is not None and self.evaluate.forgetting is not None
        if asked and not (isinstance(self.student, SftConfig | DpoConfig) and self.student.base):
            raise ValueError(
                "evaluate.forgetting compares a student with its base: it needs a student of kind"
                " sft or dpo with a `base`; leave it out"
            )
        if self.rounds.count > 1 and self.student is not None and self.student.seeds > 1:
            raise ValueError(
                f"student.seeds: {self.student.seeds}, and rounds: {self.rounds.count}: each round"
                " asks by what its one student does: set one of them to 1"
            )
        if self.evaluate is not None and self.evaluate.ask not in {None, *seen}:
            raise ValueError(f"evaluate.ask: no step is named {self.evaluate.ask!r}")
        return self

    @model_validator(mode="after")
    def _rounds(self) -> PipelineConfig:
        for name, teacher in self.teachers.items():
            student = teacher.student
            if student is not None and student.folder is None and self.rounds.count == 1:
                raise ValueError(
                    f"teachers.{name}.student: of a single round there is none before, so nobody"
                    " would answer: set `rounds`, or name a `folder`"
                )
        return self
