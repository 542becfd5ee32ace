"""Commonsense as triples: names, lists, events, tails, splits, and what a student learns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.desk import Desk
from synthkd.errors import AttemptFailed, MissingField, PromptError, Rejected, RowError
from synthkd.graphs.persons import (
    NAMES,
    PERSONS,
    drawn_names,
    name_fault,
    with_names,
    with_persons,
)
from synthkd.graphs.relations import Pair, Relation, head_key, known_relations, share_of
from synthkd.graphs.spotting import occurrences
from synthkd.io.rows_file import read_rows
from synthkd.io.spool import RowSpool, Table
from synthkd.pipeline import Pipeline
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.commonsense.events import EventsSettings, EventsWriter, events
from synthkd.recipes.commonsense.infer import InferSettings, Question, tail_fault, tail_of
from synthkd.recipes.commonsense.listed import read_list
from synthkd.recipes.instruct.waves import Candidate
from synthkd.rows import Row, source_row
from synthkd.table_kit import TableKit
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage
from synthkd.teachers.simulated.events import RELATIONS, Events, holds

ROOT = Path(__file__).parents[2]
Ask = Callable[..., Any]
HEAD = "PersonX lends PersonY a bike"
SHARES = {"dev": 0.2, "test": 0.3}


# --- names


@pytest.mark.parametrize(
    ("text", "with_name"),
    [
        ("PersonX lends PersonY's bike", "Will lends Zoë's bike"),
        ("PersonX\u2019s bike will rust: (PersonX)", "Will\u2019s bike will rust: (Will)"),
        ("PersonXs are no PersonX, nor is aPersonX", "PersonXs are no Will, nor is aPersonX"),
        ("PersonX给PersonY写信", "Will给Zoë写信"),
        ("the PersonX-like PersonY", "the Will-like Zoë"),
        ("PersonX\u0301 is another letter", "PersonX\u0301 is another letter"),
        ("nobody", "nobody"),
    ],
)  # fmt: skip
def test_names_go_in_and_out_at_the_edges_of_words(text: str, with_name: str) -> None:
    names = {"PersonX": "Will", "PersonY": "Zoë"}
    assert with_names(text, names) == with_name
    assert with_persons(with_name, names) == text


def test_what_only_looks_like_a_name_stays() -> None:
    names = {"PersonX": "Alex", "PersonY": "Will"}
    text = "Alexander will see Alexa, ALEX and Alex\u0301, Willow and Alex"
    said = "Alexander will see Alexa, ALEX and Alex\u0301, Willow and PersonX"
    assert with_persons(text, names) == said


WORDS = st.sampled_from(
    [*PERSONS, "Alex", "alex", "Dana", "'s", "\u2019s", " ", " ", "-", "\u0301", "é", "写"]
)  # fmt: skip


@given(st.lists(WORDS | st.text(max_size=3), max_size=12).map("".join), st.integers(0, 99))
def test_what_was_put_in_comes_out_as_it_was(text: str, seed: int) -> None:
    names = drawn_names(random.Random(seed), NAMES, [text])
    put_in = with_names(text, names)
    assert not any(occurrences(person, put_in, exact=True) for person in PERSONS)
    assert with_persons(put_in, names) == text


def test_names_that_are_taken_are_not_drawn() -> None:
    drawn = drawn_names(random.Random(0), NAMES, ["Alex meets Dana"], leave=["Kai"])
    assert not {"Alex", "Dana", "Kai"} & set(drawn.values())
    assert len(set(drawn.values())) == len(PERSONS)
    with pytest.raises(ValueError, match="2 names are left of 3, 3 are needed"):
        drawn_names(random.Random(0), ["A", "B", "C"], ["B is there"])


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, None) for name in ("Alex", "Zoe\u0308", "Ömer", "Иван")),
        *((name, "must be one word of letters") for name in ("Mary Ann", "Anne-Marie", "R2", "O'")),
        *((name, "must begin with a letter") for name in ("", " A", "\u0301A", "2")),
        ("李", "must be of a script with spaces between words, where one can tell where it ends"),
        ("PersonX", "is a person already"),
        ("May", "is another word too, which would be taken out of a text as a name"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(name: str, fault: str | None) -> None:
    assert name_fault(name) == fault


# --- relations


def test_seven_relations_are_put_into_words() -> None:
    known = known_relations()
    assert tuple(known) == RELATIONS
    told = known["HinderedBy"].statement("PersonX sings. ", " PersonX is hoarse.")
    assert told == "PersonX sings. This does not happen if PersonX is hoarse."
    for relation in known.values():
        for one in relation.examples:
            said = relation.statement(*one)
            assert said == f"{relation.opening(one.head)} {one.tail}."


@pytest.mark.parametrize(
    "states",
    ["{tail}. {head}", "{head} is{tail}", "{head} {head} {tail}", "{head}", "so {head} {tail}"],
)
def test_a_relation_that_cannot_be_said(states: str) -> None:
    with pytest.raises(ValidationError, match=r"must begin with \{head\} and end with a blank"):
        Relation(name="r", asks="Why?", states=states, examples=(Pair(HEAD, "so"),))


# --- lists


@pytest.mark.parametrize(
    ("text", "items", "cut", "is_list"),
    [
        ('["a b", "c"]', ["a b", "c"], False, True),
        ('Sure:\n```json\n["a", "a"]\n```', ["a", "a"], False, True),
        ('{"events": ["a", "b"], "n": 2}', ["a", "b"], False, True),
        ('[{"event": "a"}, {"event": "b"}]', ["a", "b"], False, True),
        ('{"1": "a", "2": "b"}', ["a", "b"], False, True),
        ('["a", "b \\"c\\"", "d', ["a", 'b "c"'], True, True),
        ("1. a\n2) b\n\n3: c  d", ["a", "b", "c d"], False, True),
        ("Here they are:\n- a\n* b\n\u2022 c", ["a", "b", "c"], False, True),
        ("\ufeff1. a", ["a"], False, True),
        ("[]", [], False, True),
        ("[1, 2]", [], False, True),
        ("As asked [1]:\n1. a\n2. b", ["a", "b"], False, True),
        ("[]\n- none fits", [], False, True),
        ('{"error": "I cannot help with that"}', [], False, False),
        ('{"error": {"message": "I cannot"}}', [], False, False),
        ('[{"tail": "a", "n": 1}]', ["a"], False, True),
        ('[{"tail": "a", "why": "b"}]', [], False, True),
        ("I cannot think of any.", [], False, False),
        ("", [], False, False),
        ("[" * 3000, [], True, True),
        ('["写信", "喝茶"]', ["写信", "喝茶"], False, True),
    ],
)
def test_lists_are_read(text: str, items: list[str], cut: bool, is_list: bool) -> None:
    listed = read_list(text)
    assert (listed.items, listed.cut, listed.is_list) == (items, cut, is_list)


@pytest.mark.parametrize(
    ("text", "ended", "items", "cut"),
    [
        ("1. to sleep\n2. to ea", False, ["to sleep"], True),
        ("1. to sleep\n2. to eat", True, ["to sleep", "to eat"], False),
        ("1. to sleep\nThese are", False, ["to sleep"], True),
        ('["to sleep"]\nThat is a', False, ["to sleep"], False),
        ('[["to sleep"], ["to e', True, ["to sleep"], True),
    ],
)
def test_half_an_item_is_none(text: str, ended: bool, items: list[str], cut: bool) -> None:
    listed = read_list(text, ended=ended)
    assert (listed.items, listed.cut) == (items, cut)


# --- events


class Said:
    """Answers question after question; an error is raised."""

    def __init__(self, replies: Sequence[str | Exception]) -> None:
        self.replies = list(replies)
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.replies[len(self.asked) - 1]
        if isinstance(reply, Exception):
            raise reply
        key = f"key-{len(self.asked)}"
        return Completion(text=reply, finish="stop", usage=Usage(), reply=b"")._replace(key=key)


async def grown(
    heads: Sequence[object], replies: Sequence[str | Exception], **settings: Any
) -> tuple[list[Row], TableKit, Said]:
    said = Said(replies)
    teacher = OpenTeacher(
        name="a", model="m", params={}, max_tokens=None, simulated=True, stack=said
    )
    prompt = load_prompt("commonsense/events", folders=[shipped_folder("prompts")])
    desk = Desk(step="events", teachers={"a": teacher}, prompts={prompt.name: prompt})
    kit = TableKit(desk, asyncio.get_running_loop())
    settings = {"teacher": "a", "wave": len(replies), "min_yield": 0.001, **settings}
    config = EventsSettings.model_validate(settings)
    rows: list[Row] = [
        source_row("s", [n], ordinal=n, fields={"head": head, "n": n})  # type: ignore[dict-item]
        for n, head in enumerate(heads)
    ]
    with RowSpool.of(Path("events.spool"), rows) as spool:
        made = await asyncio.to_thread(lambda: list(events(Table(spool), kit, config)))
    return made, kit, said


async def test_new_events_descend_from_all_that_were_shown() -> None:
    replies = [
        f'["PersonX sings.", "personx SINGS", "{HEAD}", "PersonX sees PersonY"]',
        '["It rains", "PersonX", "PersonX eats (and drinks)", "PersonX sings"]',
        f'["PersonX\'s cat runs away", "PersonX {"very " * 12}much", "PersonX pa',
        "none that I know",
    ]
    heads = [HEAD, "PersonX swims", "PersonX runs", " "]
    made, kit, said = await grown(heads, replies, accept=3, shown=2, per_question=4)
    new = {str(row.fields["head"]): row for row in made if "n" not in row.fields}
    assert list(new) == ["PersonX sings", "PersonX sees PersonY", "PersonX's cat runs away"]
    assert new["PersonX sings"].made_by == ("key-1",)
    assert len(made) == len({row.id for row in made}) == 6
    shown = [list(request.inputs["examples"]) for request in said.asked]  # type: ignore[arg-type]
    assert all(len(examples) == 2 for examples in shown)
    assert len(new["PersonX sings"].roots) == 2
    lost = {"cut": 1, "not_begins": 2, "odd_signs": 1, "too_similar": 3}
    assert {name: kit.figures["lost"][name] for name in lost} == lost  # type: ignore[call-overload,index]


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        *((event, None) for event in (HEAD, "PersonX's cat runs", "PersonX pays $5.50 for ___")),
        *((event, "not_begins") for event in ("PersonX", "PersonXs run", "PersonX .", "It", "")),
        *((f"PersonX {rest}", "odd_signs") for rest in ("eats. And drinks", "walks/runs", "(a)")),
        ("PersonX " + "very " * 11 + "much", "too_long"),
        ("PersonX 写信给PersonY", None),
    ],
)  # fmt: skip
def test_what_is_an_event(event: str, fault: str | None) -> None:
    writer = EventsWriter(EventsSettings(teacher="a", accept=1))
    loss = writer.gate(Candidate(text=event))
    assert (None if loss is None else loss.reason) == fault


# --- inferences


def settings(**more: Any) -> dict[str, Any]:
    return {"teachers": ["a"], "relations": ["xWant"], "samples": 1, **more}


async def test_tails_come_back_with_persons_once_each(ask: Ask) -> None:
    first = '["to thank them", "To thank them.", "none", "ok"]'
    asked = await ask(
        "commonsense.infer",
        settings(teachers=["a", "b"], samples=2),
        {"head": f" {HEAD}. "},
        {"a": [first, "1. to thank THEM\n2. to ride"], "b": ["[]", "Nothing comes to mind."]},
    )
    assert [(row.fields["tail"], row.fields["support"]) for row in asked.rows] == [
        ("to thank them", 0.5),
        ("to ride", 0.25),
    ]
    assert all(row.fields["head"] == HEAD for row in asked.rows)
    assert asked.rows[0].fields["teachers"] == ["a"]
    assert asked.rows[0].made_by == ("a-0", "a-1")
    assert asked.rows[1].made_by == ("a-1",)
    reasons = sorted(reason for reason, _ in asked.kit.discards)
    assert reasons == ["no_inference", "no_list", "too_short"]
    request = asked.teachers["a"].asked[0]
    opening, examples = str(request.inputs["opening"]), request.inputs["examples"]
    assert opening.endswith(" wants")
    assert "Person" not in opening + "".join(examples)
    assert len(examples) == 5
    fewer = await ask("commonsense.infer", settings(per_reply=2), {"head": HEAD}, {"a": [first]})
    assert len(fewer.rows) == 1
    assert [reason for reason, _ in fewer.kit.discards] == ["more_than_asked"] * 2
    statement = asked.rows[0].fields["statement"]
    assert statement == f"{opening} to thank them."


async def test_every_relation_is_a_question_and_one_that_fails_costs_no_other(ask: Ask) -> None:
    asked = await ask("commonsense.infer", {"teachers": ["a"], "samples": 1}, {"head": HEAD},
                      {"a": ['["to be kind"]']})  # fmt: skip
    assert tuple(row.fields["relation"] for row in asked.rows) == RELATIONS
    pairs = [str(request.inputs["opening"]) for request in asked.teachers["a"].asked]
    assert len({opening.split()[0] for opening in pairs}) == 1  # one name in all of them


@pytest.mark.parametrize(
    ("head", "replies", "error", "what"),
    [
        (3, ["[]"], Rejected, "no_event"),
        (" . ", ["[]"], Rejected, "no_event"),
        (HEAD, ["no list"], Rejected, "no_list"),
        (HEAD, ['["none"]'], Rejected, "no_tails"),
        (" ".join(NAMES[:20]), ["[]"], Rejected, "names_taken"),
        (HEAD, [AttemptFailed("away")], AttemptFailed, "away"),
    ],
)
async def test_events_of_which_nothing_comes(
    ask: Ask, head: object, replies: list[Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        await ask("commonsense.infer", settings(), {"head": head}, {"a": replies})


QUESTION = Question(
    relation=known_relations()["xWant"],
    head=HEAD,
    names={"PersonX": "Alex", "PersonY": "Chris"},
    inputs={"opening": "Alex lends Chris a bike. Afterwards, Alex wants"},
    others=("Dana",),
)


@pytest.mark.parametrize(
    ("text", "tail", "fault"),
    [
        (' "to see Chris\u2019s bike." ', "to see PersonY\u2019s bike", None),
        ("to see Chris' bike", "to see PersonY's bike", None),
        ("Afterwards, Alex wants to rest", "to rest", None),
        ("ALEX WANTS to rest", "to rest", None),
        ("Alex lends Chris a bike. Afterwards, Alex wants to rest.", "to rest", None),
        ("to tell person y, and Person X too", "to tell PersonY, and PersonX too", None),
        ("to meet Christopher", "to meet Christopher", None),
        ("to meet Dana", "to meet Dana", "other_name"),
        ("None.", "None", "no_inference"),
        ("N/A", "N/A", "no_inference"),
        ("...", "", "too_short"),
        ("go " * 13, ("go " * 13).strip(), "too_long"),
        ("alex lends Chris a bike", "alex lends PersonY a bike", None),
        ("Alex lends Chris a bike", HEAD, "says_the_event"),
        ("送花", "送花", "too_short"),
        ("想要休息一下", "想要休息一下", None),
    ],
)
def test_tails_as_they_are_kept(text: str, tail: str, fault: str | None) -> None:
    kept = tail_of(text, QUESTION)
    assert (kept, tail_fault(kept, QUESTION, 12)) == (tail, fault)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"teachers": ["a", "a"]}, "each teacher once"),
        ({"relations": ["xwant"]}, "there is no relation 'xwant': name one of xWant, "),
        ({"relations": ["xWant", "xWant"]}, "names a relation twice"),
        ({"names": ["Alex", "Mary Ann"]}, "names: 'Mary Ann' must be one word of letters"),
        (
            {"names": [*NAMES[:17]]},
            "17 are too few for 5 examples: give at least 18, or lower `sho",
        ),
    ],
)
def test_settings_that_cannot_work(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InferSettings.model_validate(settings(**more))


@pytest.mark.parametrize("begins", ["", "a b"])
def test_what_no_event_could_begin_with(begins: str) -> None:
    with pytest.raises(ValidationError, match="begins"):
        EventsSettings(teacher="a", accept=1, begins=begins)


# --- the corpus


@given(st.text("abcéß写7'- ", max_size=9), st.randoms(use_true_random=False), st.integers(0, 3))
def test_no_head_leaks_in_another_spelling(head: str, rng: random.Random, seed: int) -> None:
    def respelt(text: str) -> str:
        parts = [c.upper() if len(c.upper()) == 1 and rng.random() < 0.5 else c for c in text]
        return rng.choice(["", " ", "\t"]) + rng.choice([" ", "  ", "\u00a0"]).join(parts) + "."

    head = f"PersonX {head}"
    assert share_of(head, "split", seed) == share_of(respelt(head), "split", seed)


async def test_splits_are_by_head_and_about_as_large_as_asked(ask: Ask) -> None:
    sides: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for n in range(200):
        one = await ask("commonsense.split", SHARES, {"head": f"PersonX eats {n}"}, [])
        two = await ask("commonsense.split", SHARES, {"head": f" personx Eats  {n}."}, [])
        assert one.fields["split"] == two.fields["split"]
        sides[str(one.fields["split"])].append(str(n))
    assert 25 < len(sides["dev"]) < 55
    assert 40 < len(sides["test"]) < 80
    with pytest.raises(MissingField, match="no text in 'head'"):
        await ask("commonsense.split", {}, {"head": "..."}, [])
    with pytest.raises(ValidationError, match="must leave heads to train on"):
        await ask("commonsense.split", {"dev": 0.5, "test": 0.5}, {"head": HEAD}, [])


async def test_a_part_of_the_heads_is_judged(ask: Ask) -> None:
    row = {"head": HEAD, "statement": "Alex lends Chris a bike. Alex wants it back."}
    judged = {"share": 1.0}
    for reply, valid, lost in [
        ('{"label": "holds", "confidence": 0.8}', True, []),
        ("Fails.", False, []),
        ("It does not hold.", None, ["bad_label"]),
    ]:
        asked = await ask("commonsense.judge", judged, row, [reply])
        assert asked.fields["valid"] is valid
        assert [reason for reason, _ in asked.kit.discards] == lost
    known = await ask("commonsense.judge", judged, {**row, "valid": False}, [])
    assert (known.fields["valid"], known.teachers["main"].asked) == (False, [])
    unasked = await ask("commonsense.judge", {"share": 0.0}, row, [])
    assert (unasked.fields["valid"], unasked.teachers["main"].asked) == (None, [])
    with pytest.raises(RowError):
        await ask("commonsense.judge", judged, row, [AttemptFailed("away")])


async def test_rows_for_a_student(ask: Ask) -> None:
    row = {
        "head": f"{HEAD} ",
        "relation": "xWant",
        "tail": "to  ride",
        "split": "dev",
        "rec_0.5": False,
    }
    asked = await ask("commonsense.student", {}, row, [])
    assert asked.fields["prompt"] == f"{HEAD} xWant [GEN]"
    assert asked.fields["completion"] == " to ride"
    for more, error, what in [
        ({"splits": ["train"]}, Rejected, "other_split"),
        ({"flag": "rec_0.5"}, Rejected, "not_flagged"),
        ({"flag": "rec_0.9"}, MissingField, "no true or false in 'rec_0.9', got None"),
    ]:
        with pytest.raises(error, match=what):
            await ask("commonsense.student", more, row, [])
    with pytest.raises(MissingField, match="no text in 'tail'"):
        await ask("commonsense.student", {}, {**row, "tail": ""}, [])


# --- the world and the whole


def test_the_world_knows_what_holds() -> None:
    assert holds("Kai repairs Dana's bike. Afterwards, Kai wants to have a rest.")
    assert holds("Kai breaks Dana's phone. This does not happen if Dana is far away.")
    assert not holds("Kai breaks Dana's phone. This does not happen if Kai is far away.")
    assert not holds("Kai repairs Dana's bike. Afterwards, Kai wants to taste it.")
    with pytest.raises(PromptError, match="knows nothing of 'Kai flies'"):
        Events(0.0).answer(
            "commonsense/infer", {"opening": "Kai flies", "count": 1}, random.Random(0)
        )
    rng = random.Random(0)
    for line in (ROOT / "data" / "events.jsonl").read_bytes().splitlines():
        head = with_names(orjson.loads(line)["head"], {"PersonX": "Kai", "PersonY": "Dana"})
        for relation in known_relations().values():
            opening = relation.opening(head).replace("PersonX", "Kai")
            told = Events(0.0).answer("commonsense/infer", {"opening": opening, "count": 1}, rng)
            assert holds(f"{opening} {orjson.loads(told)[0]}.")


async def test_the_pipeline_leaks_no_head_and_its_flags_are_nested(tmp_path: Path) -> None:
    data = f"source.jsonl={ROOT / 'data' / 'events.jsonl'}"
    short = ["steps.commonsense.infer.with.relations=[xWant, xReact]"]
    file = ROOT / "pipelines" / "commonsense.yaml"
    pipeline = Pipeline.load(file, overrides=[data, *short], out=tmp_path / "out")
    told = {call.step: call.calls for call in pipeline.plan().calls}
    assert told["commonsense.judge"] == 35 * 2 * 4  # 20 events and 15 new, relations, tails
    manifest = await pipeline.run()
    rows = [dict(row.fields) for row in read_rows(tmp_path / "out" / "rows" / "rows.parquet")]
    assert len(rows) > 150
    assert len({(row["head"], row["relation"], head_key(str(row["tail"]))) for row in rows}) == len(
        rows
    )
    sides: dict[str, set[object]] = {}
    for row in rows:
        sides.setdefault(head_key(str(row["head"])), set()).add(row["split"])
        flags = [bool(row[f"rec_0.{n}"]) for n in (5, 6, 7, 8, 9)]
        assert flags == sorted(flags)  # what passes at 50 % of the recall passes at 90 %
    assert len(sides) > 30
    assert all(len(side) == 1 for side in sides.values())
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    assert manifest.counts.failed == 0
