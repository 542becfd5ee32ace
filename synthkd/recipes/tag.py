"""`tag`: what an instruction is: class of task, domain, difficulty, what is wanted, language.

    - use: tag
      with: {teacher: main, kinds: [task, domain, difficulty, intents, language]}

One question for all kinds that a teacher is needed for; the language is told by py3langid. The
classes of tasks are data (`tasks`): by default TAPIR's 32 (arXiv 2405.13448), of which each
instruction gets exactly one. Intents are open (InsTag, arXiv 2308.07074): `tag.normalise` makes one
of those that say the same. Ask with `params: {temperature: 0}`: tags are no matter of chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from synthkd.answers import named_choices
from synthkd.config import Share
from synthkd.errors import Rejected
from synthkd.recipes.instructions import asked_in
from synthkd.recipes.languages import is_installed, letters_of, probabilities, prose_of
from synthkd.recipes.objects import begins_object, own_objects
from synthkd.recipes.replies import Loss, give_up, loss_of
from synthkd.recipes.spread import count_spread, with_spread
from synthkd.recipes.tasks import DIFFER, Tasks, TasksSetting, spelling
from synthkd.rows import Json, Row, clean
from synthkd.schemas import Schema
from synthkd.steps import Kit, StepSettings, inputs_of, step
from synthkd.text import normalised, tail

Kind = Literal["task", "domain", "difficulty", "intents", "language"]
SAID: tuple[Kind, ...] = ("task", "domain", "difficulty", "intents")
"""The kinds that a teacher is asked for."""
LEAST, MOST = 1, 10
"""Of a difficulty."""
MOST_INTENTS = 50
"""Of one instruction: more are noise."""
LEAST_LETTERS = 10
"""UTF-8 bytes of letters, as of `gate.language`: of less nobody can tell the language."""
LONGEST = 100
"""Characters of a domain in the teacher's own words, or of an intent: more is no name."""
OUTSIDE = "classes outside the list"
IS, IN = "task ", "language "


class TagSettings(StepSettings):
    """Settings of `tag`."""

    teacher: str | None = None
    """Who is asked, best with `params: {temperature: 0}`; not needed for `language` alone."""
    kinds: list[Kind] = Field(default=["task"], min_length=1)
    """What is wanted; all of it is asked for in one question."""
    tasks: TasksSetting = Field(default="tag/tasks", validate_default=True)
    """The classes: the name of a file of them, a list of names, or names with shares."""
    outside: Literal["other", "reject"] = "other"
    """What becomes of an instruction whose class is none of the list: the class that `tasks.other`
    names, or no row (`bad_class`). Either way the figures count it, and `<task>_said` tells it."""
    domains: list[str] | None = Field(default=None, min_length=2)
    """The domains to choose from; null = any, in words of the teacher's own."""
    missing: Literal["reject", "keep"] = "reject"
    """A kind that cannot be read from the reply ends the row, or is null and counted."""
    sure: Share = 0.8
    """How probable the language must be; below it, `language` is null."""
    question: str = "instruction"
    """The field with the instruction."""
    input: str | None = "input"
    """The field with what it is about; a row may lack it."""
    prompt: str = "tag/tags"
    """The prompt; the shipped one asks for JSON."""
    structured: bool = True
    """Whether the JSON schema goes out with the question; false for a server that takes none."""
    names: dict[Kind, str] = Field(default={})
    """Other names for the fields, such as `{difficulty: teacher_difficulty}`."""

    @model_validator(mode="after")
    def _makes_sense(self) -> TagSettings:
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"kinds must name each once, got {', '.join(self.kinds)}")
        if self.wanted and self.teacher is None:
            raise ValueError(f"teacher must say who is asked for {', '.join(self.wanted)}")
        if "task" in self.kinds and self.outside == "other" and self.tasks.other is None:
            raise ValueError(
                "tasks have no class for what belongs to none: name it as `other`, or set"
                " `outside: reject`"
            )
        if len({spelling(name) for name in self.domains or ()}) != len(self.domains or ()):
            raise ValueError(f"domains must {DIFFER}")
        if "language" in self.kinds and not is_installed():
            raise ValueError("kind language needs the extra: pip install 'synthkd[language]'")
        fields = self.gives
        if twins := sorted(name for name, n in Counter(fields).items() if n > 1):
            raise ValueError(f"names: two kinds would go into the field {twins[0]!r}")
        return self

    @property
    def wanted(self) -> list[Kind]:
        """The kinds that a teacher is asked for."""
        return [kind for kind in SAID if kind in self.kinds]

    def field_of(self, kind: Kind) -> str:
        """The field that a kind goes into."""
        return self.names.get(kind, kind)

    @property
    def gives(self) -> list[str]:
        """All fields that are written."""
        said = [f"{self.field_of('task')}_said"] if "task" in self.kinds else []
        return [*map(self.field_of, self.kinds), *said]

    @property
    def may_show(self) -> list[str]:
        """Fields that the teacher is shown where a row has them."""
        return [self.input] if self.input is not None else []

    @property
    def calls_a_row(self) -> int:
        """Questions about a row; for the forecast."""
        return int(bool(self.wanted))


class Said(NamedTuple):
    """What a reply says of one kind."""

    value: Json = None
    loss: Loss | None = None
    """Why it says nothing that can be used."""
    outside: str | None = None
    """Of a class: what it said that is none of the list."""


def _sums_up(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """The figures with the rows of each task and language together."""
    kept = dict(with_spread(figures))
    for mark, name in ((IS, "tasks"), (IN, "languages")):
        rows = {key.removeprefix(mark): kept.pop(key) for key in [*kept] if key.startswith(mark)}
        if rows:
            kept[name] = dict(sorted(rows.items()))
    return kept


@step(
    "tag",
    needs=lambda config: [config.question],
    gives=lambda config: config.gives,
    supplies=("question", "kinds", "tasks", "domains"),
    sums_up=_sums_up,
)
async def tag(row: Row, kit: Kit, config: TagSettings, /) -> AsyncIterator[Row]:
    """Say what an instruction is: its task class, domain, difficulty, intents, language.

    Gives `task` (one of `tasks`) and `task_said` (what the teacher said, where that is none of
    them), `domain`, `difficulty` (1 to 10), `intents` (objects with tag and explanation),
    `language` (ISO 639-1). Rejects `bad_class`, `bad_domain`, `off_scale`, `no_difficulty`,
    `no_intents`, `said_twice`, `cut`, `refused`, `empty_answer` and its kin, `no_instruction`.
    Figures: rows of each class and language, classes outside the list, a histogram of the
    difficulties.
    """
    question = asked_in(row, config.question, config.input)
    made: dict[str, Json] = {}
    if config.wanted:
        made = await _asked(row, kit, config, question)
    if "language" in config.kinds:
        made[config.field_of("language")] = language = language_of(question, config.sure)
        kit.count(f"{IN}{language or 'unknown'}")
    yield row.with_fields(**made)


async def _asked(row: Row, kit: Kit, config: TagSettings, question: str) -> dict[str, Json]:
    """What the teacher says, as fields."""
    assert config.teacher is not None  # noqa: S101  the settings were checked
    inputs = inputs_of(
        row,
        kit.prompts[config.prompt].inputs,
        question=question,
        kinds=[*config.wanted],
        tasks=config.tasks.names,
        domains=config.domains,
    )
    schema = reply_schema(config) if config.structured else None
    reply = await kit.ask(config.prompt, inputs, teacher=config.teacher, schema=schema)
    loss = loss_of(reply)
    if loss is not None and loss.reason != "bad_json":  # off the schema may be plain all the same
        give_up([reply], [loss])
    said = read_tags(reply.text, config)
    if reply.finish == "length" and all(one.loss for one in said.values()):
        raise Rejected("cut", f"cut at max_tokens, raise it: ...{reply.text[-200:]}")
    made: dict[str, Json] = {}
    for kind, one in said.items():
        if one.loss is not None:
            if config.missing == "reject" or (kind == "task" and config.outside == "reject"):
                raise Rejected(*one.loss)
            kit.discard(*one.loss)
        made[config.field_of(kind)] = one.value
        if kind == "task":
            made[f"{config.field_of(kind)}_said"] = one.outside
        _count(kit, kind, one, question)
    return made


def _count(kit: Kit, kind: Kind, one: Said, question: str) -> None:
    if kind == "task":
        kit.count(f"{IS}{one.value}", int(one.value is not None))
        kit.count(OUTSIDE, int(one.outside is not None))
    elif kind == "difficulty" and isinstance(one.value, int):
        count_spread(kit, kind, one.value, width=1, text=question)


def reply_schema(config: TagSettings) -> Schema:
    """The reply that is asked for: a name for each kind."""
    text: dict[str, Any] = {"type": "string"}
    intent = {
        "type": "object",
        "properties": {"tag": text, "explanation": text},
        "required": ["tag", "explanation"],
        "additionalProperties": False,
    }
    shapes: dict[Kind, dict[str, Any]] = {
        "task": {**text, "enum": config.tasks.names},
        "domain": text if config.domains is None else {**text, "enum": config.domains},
        "difficulty": {"type": "integer", "enum": list(range(LEAST, MOST + 1))},
        "intents": {"type": "array", "items": intent},
    }
    return Schema.of(
        "tags",
        {
            "type": "object",
            "properties": {kind: shapes[kind] for kind in config.wanted},
            "required": list(config.wanted),
            "additionalProperties": False,
        },
    )


def read_tags(text: str, config: TagSettings) -> dict[Kind, Said]:
    """What a reply says of each kind that was asked for.

    Args:
        text: of the reply; a JSON object, or for a class plain words.
        config: what was asked.
    """
    objects = own_objects(text)
    told = objects[-1] if objects else {}
    read: dict[Kind, Said] = {}
    for kind in config.wanted:
        value = told.get(kind)
        if any(one.get(kind, value) != value for one in objects):
            read[kind] = Said(loss=Loss("said_twice", f"and not the same: {tail(text)}"))
        elif kind == "task":
            # Without an object, the class is the one that the words name; but one that was begun
            # and is no JSON may be cut, or hold a quotation.
            plain = None if begins_object(text) else text
            read[kind] = read_task(value if objects else plain, config.tasks, config.outside)
        elif kind == "domain":
            read[kind] = read_domain(value, config.domains)
        elif kind == "difficulty":
            read[kind] = read_difficulty(value)
        else:
            read[kind] = read_intents(value)
    return read


def class_in(words: str, names: Sequence[str]) -> str | None:
    """The one class that the words are, or name as whole words; None = none, or several.

    Case, and spaces against underscores and hyphens, make no difference.
    """
    plain = {spelling(name): name for name in names}
    if (exact := plain.get(spelling(words))) is not None:
        return exact
    named = named_choices(spelling(words), plain)
    return plain[named[0]] if len(named) == 1 else None


def read_task(value: object, tasks: Tasks, outside: Literal["other", "reject"]) -> Said:
    """The class: one of the list, else one that is named as whole words, else that of the rest.

    What says no class at all, such as an answer that was cut, is none of the rest: it is a loss.
    """
    if not isinstance(value, str) or not value.strip():
        return Said(loss=Loss("bad_class", f"no class is said, got {value!r:.200}"))
    found = class_in(value, tasks.names)
    if found is not None:
        return Said(found)
    said = str(clean(value, {}))[:200]
    loss = Loss("bad_class", f"none of the {len(tasks.shares)} classes: {said}")
    if outside == "reject":
        return Said(loss=loss, outside=said)
    return Said(tasks.other, outside=said)


def read_domain(value: object, domains: Sequence[str] | None) -> Said:
    """The domain: one of the list if there is one, else the words in lower case."""
    words = str(clean(value, {})) if isinstance(value, str) else ""
    if not words.strip() or (domains is None and len(words) > LONGEST):
        return Said(loss=Loss("bad_domain", f"got {value!r:.200}"))
    if domains is None:
        return Said(normalised(words))
    found = class_in(words, domains)
    if found is None:
        return Said(loss=Loss("bad_domain", f"none of the {len(domains)}: {words:.200}"))
    return Said(found)


def read_difficulty(value: object) -> Said:
    """A whole number from 1 to 10, also one in quotation marks."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:9])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return Said(loss=Loss("no_difficulty", f"no whole number: {value!r:.200}"))
    if not LEAST <= value <= MOST:
        return Said(loss=Loss("off_scale", f"difficulty is {value!r:.40}, on {LEAST} to {MOST}"))
    return Said(value)


def read_intents(value: object) -> Said:
    """A list of objects with `tag` and `explanation`; a tag that stands twice counts once."""
    found: dict[str, Json] = {}
    for one in value if isinstance(value, list) else ():
        name = one.get("tag") if isinstance(one, Mapping) else one
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST:
            continue
        why = one.get("explanation") if isinstance(one, Mapping) else None
        told = {"tag": name.strip(), "explanation": why if isinstance(why, str) else ""}
        found.setdefault(normalised(name), clean(told, {}))
    if not found:
        return Said(loss=Loss("no_intents", f"no list of tags: {value!r:.200}"))
    return Said([*found.values()][:MOST_INTENTS])


def language_of(text: str, sure: float) -> str | None:
    """The language's code; None = the text is too short, or could be in several.

    Args:
        text: code in fences is not read.
        sure: how probable it must be.
    """
    text = prose_of(text)
    if letters_of(text) < LEAST_LETTERS:
        return None
    likely = probabilities(text)
    best = max(likely, key=lambda code: likely[code])
    return best if likely[best] >= sure else None
