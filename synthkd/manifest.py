"""What a run says about itself: the values behind manifest.json, `synthkd show` and the display."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A block of manifest.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def called(name: str, *, simulated: bool, recorded: bool = False) -> str:
    """The name, with what must stand beside every figure of it."""
    kind = "simulated" if simulated else "recorded" if recorded else ""
    return f"{name} ({kind})" if kind else name


class Counts(Record):
    """The fates of source rows: read = kept + rejected + failed + waiting."""

    read: int
    kept: int
    rejected: int
    failed: int
    waiting: int = 0
    """Rows that go on when a batch is collected; none in a complete run."""
    held_out: Mapping[str, int] = {}
    """dev and test rows: set aside, so not read."""
    skipped: int = 0
    """Rows that `where` or `limit` left out."""
    repaired: Mapping[str, int] = {}
    """Values that were not JSON: lone surrogates replaced, NaN made null."""


class StepCounts(Record):
    """One line of the funnel: entered + made = out + rejected + failed + merged + waiting."""

    entered: int = 0
    made: int = 0
    """Rows beyond the one that came in."""
    out: int = 0
    rejected: int = 0
    failed: int = 0
    merged: int = 0
    waiting: int = 0
    reasons: Mapping[str, int] = {}
    """Rejections by reason and failures by error class."""
    discarded: Mapping[str, int] = {}
    """Candidates lost inside rows that live on, by reason."""


class TeacherCounts(Record):
    """What one teacher was asked in this run of the command, and what it cost."""

    asked: int = 0
    """Answers that steps wanted."""
    hits: int = 0
    """... of which the ledger had them already."""
    attempts: int = 0
    """Requests that left, retries included."""
    rate_limited: int = 0
    """Attempts answered 429."""
    failed: int = 0
    """Questions without an answer in the end."""
    waiting: int = 0
    """Questions that wait for a batch."""
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    """Of the prompt tokens, those that the provider had cached."""
    reasoning_tokens: int = 0
    """Of the completion tokens, those of reasoning, as far as the provider says."""
    usd: float | None = None
    """None = the price is unknown."""
    latency_s: float | None = None
    """Median seconds of an attempt that was answered; None = none was."""
    simulated: bool = False
    served: list[str] = []
    """Who answered, as the server calls the model (and its own state), in order of appearance: more
    than one is a change within the run, and rows before and after it may differ."""
    concurrency: int | None = None
    """With `concurrency: auto`, how many may be in the air now; None = it is fixed."""


class PriceRecord(Record):
    """What a teacher costs, in US dollars per million tokens, and who says so."""

    prompt: float
    completion: float
    cached_prompt: float | None = None
    """None = unknown: cached tokens are counted at the price of the others."""
    batch_discount: float | None = None
    """The share that batch mode takes off; None = unknown."""
    date: datetime.date | None = None
    """The day for which the source gives the price; None = the user's own, or free."""
    source: str

    def in_words(self) -> str:
        """One line for people."""
        cached = "unknown" if self.cached_prompt is None else f"{self.cached_prompt:g}"
        batch = "unknown" if self.batch_discount is None else f"{self.batch_discount:.0%}"
        when = "" if self.date is None else f" of {self.date}"
        return (
            f"{self.prompt:g} USD per million prompt tokens (cached {cached}),"
            f" {self.completion:g} of completion, batch discount {batch}; {self.source}{when}"
        )


class Spend(Record):
    """What the run has spent over all its restarts, and the budget it has."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    wall_s: float = 0.0
    budget: Mapping[str, float | int | None] = {}


class Interval(Record):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(Interval):
    """The student's figure minus another's, on the same rows."""

    only_student: int | None = None
    """Rows that the student alone has right; None = not a matter of right and wrong."""
    only_other: int | None = None
    p: float | None = None
    """McNemar's exact test: how often chance alone would make as large a difference."""


class Coverage(Record):
    """What is left when only the answers given with the most confidence are used."""

    coverage: float
    """Share of the rows that are answered."""
    risk: float
    """Share of those answers that are wrong."""
    confidence: float
    """The least confidence among them."""


class Confidences(Record):
    """What a contestant's own confidences are worth."""

    rows: int
    bins: int
    """Of the calibration error, each with about as many rows."""
    ece: float
    """Expected calibration error, 0 to 1: how far confidence and accuracy are apart."""
    ece_if_calibrated: float
    """What so few rows would show on average were every confidence true."""
    trust: float
    """Accuracy minus `ece` (FIRST, arXiv 2408.12168)."""
    aurc: float
    """Area under the curve of risk against coverage: the mean risk over all coverages."""
    curve: list[Coverage] = []


class FieldScore(Record):
    """How well one field of records was filled in."""

    wanted: int
    """Values that gold has."""
    given: int
    precision: Interval
    recall: Interval
    f1: Interval


class Contestant(Record):
    """One line of the comparison: base, a teacher, several teachers together, the student."""

    name: str
    role: str
    """base, teacher, panel or student."""
    simulated: bool = False
    recorded: bool = False
    """A teacher whose answers come out of a file: nobody was asked, and no cost or time is its."""
    seeds: int = 1
    """Students, alike but for chance, of which its figures are the mean."""
    answered: int
    """Rows with an answer; the others count as wrong."""
    metrics: Mapping[str, Interval]
    versus_student: Mapping[str, Difference] = {}
    """Student minus this one on the same rows."""
    fields: Mapping[str, FieldScore] = {}
    """Of records: each field by itself; of several seeds the first."""
    confidences: Confidences | None = None
    """None = it says none."""
    ms_per_row: float | None = None
    """Milliseconds. Of a teacher the median of the requests that this evaluation sent and that were
    answered (the last 1,000), of a student its mean; None = not measured, as for answers that came
    from the ledger."""
    usd_per_1000: float | None = None
    """US dollars that a provider charges for 1,000 rows, whether bought now or before: of a single
    teacher for its first sample, of a vote for all samples of all its teachers. None = a price or a
    number of tokens is unknown. A student that answers on this machine is charged nothing: 0."""
    pays_off_after: int | Literal["never"] | None = None
    """Requests after which the student, asked in this one's place, has saved what the run cost;
    None = a cost is unknown, or it is no teacher."""


class Money(Record):
    """What the student cost, in US dollars that providers charge for the run, evaluation included.

    None = unknown.
    """

    spent_usd: float | None
    rows: int
    """Rows of the dataset."""
    usd_per_row: float | None
    metric: str
    points: float | None
    """The student's lead over base by that metric, in points of per cent."""
    points_per_usd: float | None
    """None also where nothing was spent."""


class Unseen(Record):
    """Labels of the held-out rows that no row to learn from has: no student can know them."""

    labels: int
    rows: int
    """Held-out rows with such a label."""
    examples: list[str]
    """The most frequent first."""


class Change(Record):
    """A figure before and after training, on the same rows."""

    rows: int
    before: Interval
    after: Interval
    change: Difference
    """After minus before: `only_student` rows were won, `only_other` lost."""


class KindChange(Change):
    """How many questions of a kind were answered rightly."""

    kind: str


class Likelihood(Change):
    """How likely reference texts are: the geometric mean probability of a byte, mean over texts."""

    nats_before: float
    """Log-likelihood of a byte, mean over texts."""
    nats_after: float


class Forgetting(Record):
    """General questions, asked of the base and of the student that was made from it."""

    suite: str
    sha256: str
    """Of the suite's file."""
    base: str
    overall: KindChange
    kinds: list[KindChange] = []
    likelihood: Likelihood | None = None
    """None = the suite has no reference texts."""
    harness: list[KindChange] = []
    """Tasks and metrics of lm-evaluation-harness; `kind` names them."""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


class Wordings(Record):
    """One contestant's answers to the same rows in several wordings of the question."""

    who: str
    metric: str
    rows: int
    """On which asking succeeded in every wording."""
    by_wording: Mapping[str, Interval]
    mean: Interval
    worst: Interval
    spread: Interval
    """The best wording's figure minus the worst's."""
    agreement: Interval
    """Share of rows with an answer in every wording, and the same one."""
    p: float | None = None
    """Cochran's Q: how often chance alone would set wordings as far apart; None = not a matter of
    right and wrong, or no row tells them apart."""


class Evaluation(Record):
    """Base, teachers and student on the same held-out rows."""

    on: str
    rows: int
    """Rows that everybody is compared on."""
    left_out: int = 0
    """Further held-out rows, on which the asking failed: no teacher's fault and nobody's score."""
    labels: int
    """Different answers in gold."""
    unseen: Unseen | None = None
    """None = every label was in the rows to learn from, or the metrics are not of labels."""
    contamination: str = "not checked"
    """Whether held-out rows are among the rows to learn from: which check ran, what it found."""
    notes: Sequence[str] = ()
    """What to bear in mind, such as `few rows`."""
    contestants: list[Contestant]
    funnel: StepCounts = StepCounts()
    """What became of the held-out rows in the step that asked the teachers."""
    money: Money | None = None
    """None = there is no student."""
    forgetting: Forgetting | None = None
    """None = it was not looked for."""
    wordings: list[Wordings] = []
    """Of each contestant that was asked in other words."""
    predictions: str | None = None
    """The file beside this one with every answer to every row; None = of an older version."""


class TrialRecord(Record):
    """evaluation.json: an evaluation without a run, written last."""

    name: str
    pipeline: str
    """The pipeline file."""
    run_id: str
    """Under which the ledger has what it spent."""
    source: str
    """The file with the rows."""
    asked: Mapping[str, str]
    """Who was examined, and who that is, in words; simulated and recorded ones are called so."""
    evaluation: Evaluation
    student: Mapping[str, Any] | None = None
    """Of a student: its folder, kind, fingerprint and what it was made from."""
    teachers: Mapping[str, TeacherCounts]
    spend: Spend
    prices: Mapping[str, PriceRecord | None] = {}
    seed: int
    """Of the draws behind the intervals."""
    wall_s: float
    config: Mapping[str, Any]
    prompts: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, str]


class RoundRecord(Record):
    """One round of a run."""

    round: int
    rows: int
    """Rows that it made."""
    rows_so_far: int
    """Rows of this round and those before, by id: what its student learnt from."""
    student: str
    """The fingerprint of its student."""
    scores: Mapping[str, float]
    """accuracy and macro_f1 on the dev rows, from which the next round learns: not for claims."""
    funnel: Mapping[str, StepCounts] = {}
    """Each step's line of this round alone."""
    figures: Mapping[str, Mapping[str, Any]] = {}
    """Step -> what it noted in this round."""


class Progress(Record):
    """A moment of a run, for displays."""

    stage: str
    """reading, asking, sorting, exporting, training, evaluating, done; with batches also
    collecting, sending, waiting"""
    rows_total: int | None
    rows_entered: int
    elapsed_s: float
    funnel: Mapping[str, StepCounts]
    teachers: Mapping[str, TeacherCounts]
    spend: Spend
    starting: list[str] = []
    """How the start of each server of our own that is not up goes, in words."""
    told: list[str] = []
    """How far steps that work on all rows say that they are."""
    training: str = ""
    """How far the student is, in words."""
    round: int | None = None
    """Of several rounds the one that is going on, from 0."""


class Stopped(Record):
    """stopped/stopped.json: why a run ended early, and how far it was."""

    message: str
    exit_code: int
    counts: Counts
    """The fates so far; the rows without one were on their way."""
    funnel: Mapping[str, StepCounts]
    teachers: Mapping[str, TeacherCounts]
    spend: Spend


class Manifest(Record):
    """manifest.json, written last: a folder that has one is complete."""

    name: str
    pipeline: str
    """The pipeline file."""
    run_id: str
    simulated: list[str]
    """Teachers that are simulated: figures won on them prove code, not method."""
    counts: Counts
    funnel: Mapping[str, StepCounts]
    figures: Mapping[str, Mapping[str, Any]] = {}
    """Step -> what it noted of all its rows (`kit.note`, `kit.count`): name -> value."""
    warnings: Sequence[str] = ()
    """What steps have to say of their figures, such as a judge that always says the same."""
    teachers: Mapping[str, TeacherCounts]
    spend: Spend
    prices: Mapping[str, PriceRecord | None] = {}
    """Teacher -> what it costs; None = unknown, so nothing is counted for it."""
    wall_s: float
    cpu_s: float
    dataset: Mapping[str, Any]
    """Rows and columns of dataset/."""
    student: Mapping[str, Any] | None = None
    evaluation: Evaluation | None = None
    rounds: list[RoundRecord] = []
    """Of a pipeline with several."""
    config: Mapping[str, Any]
    prompts: Mapping[str, str]
    """Prompt name -> SHA-256 of its file."""
    versions: Mapping[str, str]
    files: Mapping[str, str]
    """Path inside the run's folder -> SHA-256."""
