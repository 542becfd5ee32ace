from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from synthkd.evaluate.overlap import Words
from synthkd.graphs.entities import Entity, read_entities
from synthkd.graphs.passages import evidence_of, passages, sentences, tokens_in, word_overlap
from synthkd.graphs.stated import Origin, Stated, merged
from synthkd.graphs.triple import Triple

few = settings(max_examples=60, deadline=None)
texts = st.text(st.sampled_from('aB. \n\u3002\u6771!?")\ufeff\u0e01-'), max_size=80) | st.text(
    max_size=60
)
BLANK = "\u200b\ufeff"


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada met Dr. Lee. She left.", ["Ada met Dr. Lee.", "She left."]),
        ("J. Smith wrote it (e.g. Notes). Why?", ["J. Smith wrote it (e.g. Notes).", "Why?"]),
        ('"Stop!" he said. Then 3.5 km.', ['"Stop!" he said.', "Then 3.5 km."]),
        ("He waited... and left.", ["He waited... and left."]),
        ("東京に住む。「はい。」と言った。", ["東京に住む。", "「はい。」", "と言った。"]),
        ("A title\n\nA text without a stop", ["A title", "A text without a stop"]),
        ("\ufeffAda left. ", ["Ada left."]),
        (" \n\ufeff ", []),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    assert parts(text) == found


@few
@given(texts, st.integers(min_value=1, max_value=20))
@example("??????? \ufeff?", 2)
def test_no_character_is_lost_and_no_passage_is_too_long(text: str, size: int) -> None:
    spans = passages(text, size)
    covered = [at for start, end in spans for at in range(start, end)]
    assert covered == sorted(set(covered))
    left = {c for at, c in enumerate(text) if at not in set(covered)}
    assert all(c.isspace() or c in "\u200b\ufeff" for c in left)
    assert all(start < end and tokens_in(text[start:end]) <= size for start, end in spans)


def test_a_passage_ends_with_a_sentence() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(50))
    spans = passages(text, 40)
    assert all(text[end - 1] == "." for _, end in spans)
    assert min(tokens_in(text[start:end]) for start, end in spans[:-1]) > 30


@pytest.mark.parametrize("text", ["字" * 1_000, "word " * 1_000, "x" * 5_000, "a line\n" * 500])
def test_texts_without_sentences(text: str) -> None:
    spans = passages(text, 64)
    assert len(spans) > 10
    assert max(tokens_in(text[start:end]) for start, end in spans) <= 64


def test_many_stops_take_no_hour() -> None:
    assert len(sentences("." * 100_000 + "x" + "\n \n" * 20_000)) == 1


@few
@given(
    st.text(st.sampled_from("ab C.-"), max_size=30), st.text(st.sampled_from("ab C."), max_size=30)
)
def test_overlap_is_rouge_1(one: str, other: str) -> None:
    scorer = RougeScorer(["rouge1"], tokenizer=Words())
    assert word_overlap(one, other) == pytest.approx(scorer.score(one, other)["rouge1"].fmeasure)


def test_evidence_is_a_place_in_the_document() -> None:
    text = "A title. Ada was born in London. She wrote the Notes, which are long."
    within = (9, len(text))
    for proposition, said, how in [
        ("Ada was born in London.", "Ada was born in London.", "exact"),
        ("ada was born in LONDON", "Ada was born in London", "spelling"),
        ("Ada wrote the Notes.", "She wrote the Notes, which are long.", "nearly"),
    ]:
        place = evidence_of(proposition, text, within)
        assert place is not None
        assert (text[place.start : place.end], place.how) == (said, how)
    assert evidence_of("Charles built engines.", text, within) is None


origins = st.builds(Origin, *[st.integers(0, 2)] * 4)
facts = st.builds(Triple, st.sampled_from(["Ada", "ADA"]), st.just("wrote"), st.sampled_from("NM"))


@few
@given(st.dictionaries(origins, facts, max_size=12), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_the_order(said: dict[Origin, Triple], rng: object) -> None:
    stated = [
        Stated(triple=triple, proposition=f"{origin}", origin=origin)
        for origin, triple in said.items()
    ]
    one = merged(stated)
    rng.shuffle(stated)  # type: ignore[attr-defined]
    assert merged(stated) == one
    assert {m.first.triple.key for m in one} == {triple.key for triple in said.values()}
    assert all(m.first.origin.chunk in m.chunks and 1 <= m.replies <= 9 for m in one)


@pytest.mark.parametrize(
    ("text", "names", "faults"),
    [
        ('[{"name": "Ada", "type": "person"}, {"name": "ADA"}]', ["Ada"], []),
        ('```json\n{"entities": [{"entity": "Ada"}]}\n```', ["Ada"], []),
        ('["Ada", "London"]', ["Ada", "London"], []),
        ('{"people": ["Ada"], "places": ["London"]}', ["Ada", "London"], []),
        ('[{"name": "Ada"}, {"name": "Lon', ["Ada"], ["cut"]),
        ('["Ada", "London", "Nor', ["Ada", "London"], ["cut"]),
        ('[{"name": " "}, {"name": "' + "x" * 2_000 + '"}]', [], ["empty_part", "too_long"]),
        ("Ada and London.", [], []),
    ],
)
def test_entities_of_a_reply(text: str, names: list[str], faults: list[str]) -> None:
    listed = read_entities(text)
    assert [entity.name for entity in listed.entities] == names
    assert [reason for reason, _ in listed.faults] == faults
    assert listed.is_list == ("[" in text)


def test_the_first_type_of_an_entity_counts() -> None:
    reply = '[{"name": "Ada", "type": "person"}, {"name": "ada", "type": "city"}]'
    assert read_entities(reply).entities == [Entity("Ada", "person")]
