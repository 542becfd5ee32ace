"""The pool: all that teachers answered to one row, side by side, before anybody chooses.

    candidates: [{teacher, sample, text, thought, rationale, answer, status, finish, logprob, key}]

Recipes write it, steps between may add keys of their own to a candidate (`score`, `likelihood`,
`right`), and the `choose.*` steps read it and leave it as it is. So all ways to choose are compared
on one pool, which is paid for once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from synthkd.answers import READ
from synthkd.errors import MissingField, RowError
from synthkd.rows import Fields, Json, Row

OK = "ok"
FAILED = "failed"
"""The status of a teacher that did not reply."""
NOT_RUN = "not_run"
"""The status of a program that nobody has run: whoever runs it adds the `answer`."""
POOL = "candidates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer of one teacher to one row."""

    teacher: str
    sample: int
    text: str | None = None
    """The reply as it came; None = there is none."""
    thought: str | None = None
    """What the provider gives of the model's thinking, apart from the reply."""
    rationale: str = ""
    """What stands before the cue."""
    answer: str | None = None
    """None = none can be read, and `status` says why; see `is_usable`."""
    status: str = OK
    finish: str | None = None
    logprob: float | None = None
    """Of the reply: the mean over its tokens; None = the teacher does not say."""
    key: str | None = None
    """Of the ledger's entry."""
    more: Fields = field(default_factory=dict)
    """What later steps added."""

    @property
    def told(self) -> dict[str, Json]:
        """As it stands in the row."""
        own = {name: getattr(self, name) for name in KEYS}
        return {**own, **self.more}

    @property
    def whose(self) -> dict[str, Json]:
        """Which candidate it is, for whoever looks it up in the pool or in the ledger."""
        return {"teacher": self.teacher, "sample": self.sample, "key": self.key}

    @property
    def is_usable(self) -> bool:
        """Whether its answer may vote and be learnt.

        A step that finds a fault with a reply leaves the answer where it is and says so in the
        status: an answer alone is no leave.
        """
        return self.status in READ and bool((self.answer or "").strip())

    def number(self, name: str) -> float | None:
        """A number that the candidate has: `logprob`, or one that a step added; None = it has none.

        Raises:
            RowError: it is no number.
        """
        value = self.logprob if name == "logprob" else self.more.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RowError(f"the {name} of {self} must be a number, got {value!r:.80}")
        return value

    def __str__(self) -> str:
        return f"candidate {self.teacher}, sample {self.sample}"


KEYS = tuple(one.name for one in fields(Candidate) if one.name != "more")


def told(pool: Sequence[Candidate]) -> Json:
    """The pool as the field of a row."""
    return [candidate.told for candidate in pool]


def pool_of(row: Row, name: str = POOL) -> list[Candidate]:
    """The candidates of a row, in their order.

    Raises:
        MissingField: there is no such field.
        RowError: it holds something else.
    """
    if name not in row.fields:
        raise MissingField(f"the row has no field {name!r}: the step `candidates` makes it")
    value = row.fields[name]
    if not isinstance(value, list | tuple):
        raise RowError(f"{name} must be a list of candidates, got {value!r:.80}")
    pool = [_candidate(one, f"{name}[{place}]") for place, one in enumerate(value)]
    seen: set[tuple[str, int]] = set()
    for one in pool:
        if (one.teacher, one.sample) in seen:
            raise RowError(f"{name} has two candidates of {one.teacher!r}, sample {one.sample}")
        seen.add((one.teacher, one.sample))
    return pool


TYPES: Mapping[str, tuple[type, ...]] = {
    "teacher": (str,),
    "sample": (int,),
    "text": (str, type(None)),
    "thought": (str, type(None)),
    "rationale": (str,),
    "answer": (str, type(None)),
    "status": (str,),
    "finish": (str, type(None)),
    "logprob": (int, float, type(None)),
    "key": (str, type(None)),
}
NEEDED = ("teacher", "answer")


def _candidate(value: Json, where: str) -> Candidate:
    if not isinstance(value, Mapping):
        raise RowError(f"{where} must be an object, got {value!r:.80}")
    for name in NEEDED:
        if name not in value:
            raise RowError(f"{where} has no {name!r}; it has {', '.join(sorted(value)) or 'none'}")
    known: dict[str, Json] = {"sample": 0}
    known |= {name: value[name] for name in KEYS if name in value}
    for name, one in known.items():
        if not isinstance(one, TYPES[name]) or isinstance(one, bool):
            raise RowError(f"{where}.{name} must be {_words(TYPES[name])}, got {one!r:.80}")
    more = {name: one for name, one in value.items() if name not in KEYS}
    made: Candidate = Candidate(**known, more=more)  # type: ignore[arg-type]  # checked above
    return made


def _words(types: Sequence[type]) -> str:
    names = {str: "text", int: "an integer", float: "a number", type(None): "null"}
    return " or ".join(dict.fromkeys(names[one] for one in types))
