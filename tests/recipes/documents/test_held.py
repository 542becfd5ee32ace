from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.recipes.documents.held import evidence, hold, names_in
from synthkd.recipes.documents.languages import alike, language_of, languages, words_of
from synthkd.recipes.documents.pointing import points_outside

PASSAGE = (
    "Greta Keller was born in Senlis in 1930. She wrote The Clockmaker of Velden. The house has"
    " twelve doors and cost $1,250.50."
)
WORDS = st.lists(st.sampled_from(["red", "house", "of", "Ada", "12", "twelve", "1,000", "."]))


def test_words_and_numbers() -> None:
    english = language_of("en")
    text = "It has twelve doors, B12, 1,250.50 in the 1930s; the 3rd cost 7."
    assert english.content(text) == {"doors", "b12", "cost"}
    assert english.numbers_in(text) == {"12", "1250.5", "1930", "3", "7"}
    assert english.numbers_in(f"00{'9' * 5000}, \u0663 and 0.50") == {"9" * 5000, "3", "0.5"}
    assert list(words_of("北京大学 is old")) == ["北京", "京大", "大学", "is", "old"]
    assert set(languages()) >= {"en", "de", "fr", "es", "zh"}
    with pytest.raises(ValueError, match="nothing is known of the language 'eng'; there are en"):
        language_of("eng")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("created", "creation", True),
        ("doors", "door", True),
        ("national", "nature", False),
        ("internal", "international", False),
        ("cat", "cats", False),  # of so short a word nothing is cut
        ("a", "a", True),
    ],
)
def test_forms_of_a_word(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is alike(other, one) is same


@pytest.mark.parametrize(
    ("answer", "question", "share", "numbers", "names"),
    [
        ("Greta Keller was born in Senlis.", "Where was Greta Keller born?", 1.0, (), ()),
        ("She was born in Paris.", "Where was Greta Keller born?", 0.0, (), ("Paris",)),
        ("The house has 12 doors.", "", 1.0, (), ()),
        ("The house has 13 doors, and cost 1250.5.", "", 1.0, ("13",), ()),
        ("Lars Adler wrote Night Ferry.", "", 0.2, (), ("Lars", "Adler", "Night", "Ferry")),
        # What the question says is given, and counts neither way.
        ("Lars Adler wrote it in 1930.", "What did Lars Adler write in 1931?", 1.0, (), ()),
        ("", "", 1.0, (), ()),
    ],
)
def test_an_answer_is_held_against_its_passage(
    answer: str, question: str, share: float, numbers: tuple[str, ...], names: tuple[str, ...]
) -> None:
    held = hold(answer, PASSAGE, language="en", question=question)
    assert (held.share, held.numbers, held.names) == (share, numbers, names)


def test_scripts_without_spaces_are_held_by_pairs_of_characters() -> None:
    passage = "曹雪芹写了红楼梦。"
    assert hold("曹雪芹", passage, language="zh").share == 1
    assert hold("罗贯中", passage, language="zh").share == 0
    assert evidence("曹雪芹", passage, language="zh") == [(0, 9)]


def test_evidence_is_the_sentences_with_most_of_the_words() -> None:
    def read(answer: str, question: str = "") -> list[str]:
        spans = evidence(answer, PASSAGE, language="en", question=question)
        return [PASSAGE[start:end] for start, end in spans]

    first, second, third = PASSAGE[:40], PASSAGE[41:76], PASSAGE[77:]
    assert read("She was born in Senlis.") == [first]
    assert read("The Clockmaker of Velden, and 12 doors.") == [second, third]
    assert read("Napoleon.") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Greta wrote it.", []),  # a capital that any sentence begins with
        ("Greta Keller wrote it.", [["Greta", "Keller"]]),
        ("It is Ada's. In Paris, too.", [["Ada"], ["Paris"]]),
        (
            "He knows Al-Shamal, and the U.S. Air Force.",
            [["Al", "Shamal"], ["US"], ["Air", "Force"]],
        ),
        ("It is O'Brien's, not 1A'.", [["O", "Brien"]]),
        ("", []),
        ("VERY " * 13 + "long", [["VERY"] * 13]),
    ],
)
def test_names(text: str, names: list[list[str]]) -> None:
    assert list(names_in(text, language_of("en"))) == names


@pytest.mark.parametrize(
    ("answer", "passage"),
    [
        ("It is in the United States.", "It is in the U.S."),
        ("The US Navy has it.", "The United States Navy has it."),
        ("The United States Navy has it.", "The US Navy has it."),
        ("It is in the UK.", "It is in the United Kingdom."),
        ("He met Enrique Pena Nieto.", "He met Enrique Pe\u00f1a Nieto."),
        ("They play for A.C. Verona.", "They play for AC Verona."),
    ],
)
def test_names_in_other_spellings(answer: str, passage: str) -> None:
    assert hold(answer, passage, language="en").names == ()
    assert hold(answer, "It is old.", language="en").names != ()


@settings(max_examples=40)
@given(WORDS, WORDS)
def test_a_part_of_the_passage_is_always_held(before: list[str], part: list[str]) -> None:
    answer = " ".join(part)
    held = hold(answer, " ".join([*before, answer]), language="en")
    assert (held.share, held.numbers, held.names) == (1.0, (), ())


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("What does the author think of war?", "the author"),
        ("What is said in this passage?", "this passage"),
        ("According to the  text, who won?", "the  text"),
        ("What is shown in Figure 3?", "Figure 3"),
        ("As mentioned, it is so.", "As mentioned"),
        ("Who is aforementioned?", "aforementioned"),
        ("When was she born?", "she"),
        ("Is it old?", "it"),
        ("What is the purpose of this method?", "this method"),
        ("This is old.", "This"),
        ("Who is the author of Emma?", None),
        ("What does the author Jane Austen write?", None),
        ("What is the text of the treaty?", None),
        ("How long does it take to boil an egg?", None),
        ("Is it true that water boils?", None),
        ("What did Greta Keller write before she died?", None),
        ("A man has 3 apples. How many has this man?", None),
        ("What is a figure of speech?", None),
        ("Which tablets are white?", None),
        ("Tell of her.", "her"),
        ("Explain this.", "this"),
        ("What happened to her?", "her"),
        ("Tell of Ada and her house.", None),
    ],
)
def test_what_points_outside(text: str, phrase: str | None) -> None:
    assert points_outside(text, "en") == phrase


def test_what_points_outside_in_other_languages_and_behind_a_question() -> None:
    assert points_outside("Laut dem Text, wer gewann?", "de") == "dem Text"
    assert points_outside("Wer ist der Autor von Emma?", "de") is None
    assert points_outside("Que dit l'auteur de la guerre ?", "fr") is None  # "de" binds it
    assert points_outside("Que pense l'auteur ?", "fr") == "l'auteur"
    assert points_outside("¿Qué dice el texto?", "es") == "el texto"
    assert points_outside("根据本文，谁赢了？", "zh") == "本文"
    assert points_outside("图 3 显示什么？", "zh") == "图 3"
    assert points_outside("Que dit l\u2019auteur ?", "fr") == "l'auteur"
    assert points_outside("Quand est-elle née ?", "fr") == "elle"
    assert points_outside("Wann und wo wurde er geboren?", "de") == "er"
    assert points_outside("她什么时候出生？", "zh") == "她"
    assert points_outside("王五和其他人去了哪里？", "zh") is None
    assert points_outside("She was born there.", "en", before="Where was Ada born?") is None
    assert points_outside("This method is old.", "en", before="How old is the method?") is None
