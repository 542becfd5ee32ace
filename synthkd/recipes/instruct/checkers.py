"""Constraints on an answer that a pure function can check, in the manner of IFEval (2311.07911).

    >>> one = read_constraint({"kind": "words", "max": 3})
    >>> one.sentence()
    'Use at most 3 words.'
    >>> one.holds("One two three."), one.holds("One two three four.")
    (True, False)

A constraint is data (`{kind, ...}`), a sentence that tells the teacher, and a check. The kinds are
those of IFEval that say something of the answer alone. Case makes no difference, but where it is
what is asked for. Nothing is ever run, and every check is linear in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import Field, StringConstraints, TypeAdapter

from synthkd.graphs.passages import sentences, words_in
from synthkd.recipes.instruct.constraint import Constraint, Counted, times_in
from synthkd.text import equivalent, normalised

Phrase = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=50)]

_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_HIGHLIGHT = re.compile(r"(?<!\*)\*{1,2}[^\s*][^\n*]*\*{1,2}")
_BULLET = re.compile(r"^[ \t]*(?:[-\u2022]|\*(?!\*))[ \t]+\S", re.MULTILINE)
_TITLE = re.compile(r"<<([^\n<>]+)>>")
_WORD = re.compile(r"[^\W\d_]{2,}")
_GAP = re.compile(r"\n\s*\n")
_FENCE = re.compile(r"\A```(?:json)?[ \t]*\n(.*)\n```\Z", re.DOTALL | re.IGNORECASE)


class Words(Counted):
    """Words; a character of a script without spaces is one."""

    kind: Literal["words"]

    def _holds(self, answer: str) -> bool:
        return self.allows(words_in(answer))

    def _sentence(self) -> str:
        return f"Use {self.amount('words')}."


class Sentences(Counted):
    """Sentences; an empty line ends one too."""

    kind: Literal["sentences"]

    def _holds(self, answer: str) -> bool:
        return self.allows(len(sentences(answer)))

    def _sentence(self) -> str:
        return f"Write {self.amount('sentences')}."


class Paragraphs(Counted):
    """What empty lines separate."""

    kind: Literal["paragraphs"]

    def _holds(self, answer: str) -> bool:
        return self.allows(sum(bool(part.strip()) for part in _GAP.split(answer)))

    def _sentence(self) -> str:
        return f"Write {self.amount('paragraphs')}, with an empty line between two of them."


class Bullets(Counted):
    """Lines that begin with `-`, `*` or a bullet."""

    kind: Literal["bullets"]

    def _holds(self, answer: str) -> bool:
        return self.allows(len(_BULLET.findall(answer)))

    def _sentence(self) -> str:
        return f"Have {self.amount('bullet points')}, each on a line that begins with a hyphen."


class Placeholders(Counted):
    """`[name]` and the like."""

    kind: Literal["placeholders"]

    def _holds(self, answer: str) -> bool:
        return self.allows(len(_PLACEHOLDER.findall(answer)))

    def _sentence(self) -> str:
        return f"Leave {self.amount('placeholders')} in square brackets, such as [name]."


class Highlights(Counted):
    """Parts between asterisks."""

    kind: Literal["highlights"]

    def _holds(self, answer: str) -> bool:
        return self.allows(len(_HIGHLIGHT.findall(answer)))

    def _sentence(self) -> str:
        return f"Highlight {self.amount('parts')} with asterisks, *like this*."


class CapitalWords(Counted):
    """Words of two letters or more that are all in capitals."""

    kind: Literal["capital_words"]

    def _holds(self, answer: str) -> bool:
        return self.allows(sum(word.isupper() for word in _WORD.findall(answer)))

    def _sentence(self) -> str:
        return f"Write {self.amount('words')} in capital letters throughout."


class Sections(Counted):
    """Lines that begin with a heading and its number: `Section 1`."""

    kind: Literal["sections"]
    heading: Phrase = "Section"

    def _holds(self, answer: str) -> bool:
        heading = re.escape(self.heading)
        lines = re.findall(rf"^[ \t#*]*{heading}[ \t]+\d", answer, re.MULTILINE | re.IGNORECASE)
        return self.allows(len(lines))

    def _sentence(self) -> str:
        return f"Divide it into {self.amount('sections')}, headed {self.heading} 1 and so on."

    @property
    def _demands(self) -> Sequence[str]:
        return (self.heading,) if self.min else ()


class Keyword(Counted):
    """One word, so many times."""

    kind: Literal["keyword"]
    word: Phrase

    def _holds(self, answer: str) -> bool:
        return self.allows(times_in(answer, self.word))

    def _sentence(self) -> str:
        return f'Use the word "{self.word}" {self.amount("times")}.'.replace("1 time.", "once.")

    @property
    def _demands(self) -> Sequence[str]:
        return (self.word,) if self.min else ()

    @property
    def _forbids(self) -> Sequence[str]:
        return () if self.max is None else (self.word,)


class Letter(Counted):
    """One letter, so many times, small or capital."""

    kind: Literal["letter"]
    letter: Annotated[str, StringConstraints(min_length=1, max_length=1)]

    def _holds(self, answer: str) -> bool:
        return self.allows(answer.casefold().count(self.letter.casefold()))

    def _sentence(self) -> str:
        return f'Let the letter "{self.letter}" stand {self.amount("times")} in it.'


class Keywords(Constraint):
    """Words that must be there."""

    kind: Literal["keywords"]
    words: Phrases

    def _holds(self, answer: str) -> bool:
        return all(times_in(answer, word) for word in self.words)

    def _sentence(self) -> str:
        return f"Use {_listed(self.words)}."

    @property
    def _demands(self) -> Sequence[str]:
        return self.words


class NoKeywords(Constraint):
    """Words that must not be there."""

    kind: Literal["no_keywords"]
    words: Phrases

    def _holds(self, answer: str) -> bool:
        return not any(times_in(answer, word) for word in self.words)

    def _sentence(self) -> str:
        return f"Do not use {_listed(self.words, 'or')}."

    @property
    def _forbids(self) -> Sequence[str]:
        return self.words


class StartsWith(Constraint):
    """How it begins."""

    kind: Literal["starts_with"]
    text: Phrase

    def _holds(self, answer: str) -> bool:
        wanted, found = normalised(self.text), normalised(answer)
        return found.startswith(wanted) and not found[len(wanted) :][:1].isalnum()

    def _sentence(self) -> str:
        return f'Begin with the words "{self.text}".'

    @property
    def _demands(self) -> Sequence[str]:
        return (self.text,)


class EndsWith(Constraint):
    """How it ends; quotation marks behind that do not count."""

    kind: Literal["ends_with"]
    text: Phrase

    def _holds(self, answer: str) -> bool:
        wanted, found = normalised(self.text), normalised(answer).rstrip('" ')
        before = found[: len(found) - len(wanted)][-1:]
        return found.endswith(wanted.rstrip('" ')) and not before.isalnum()

    def _sentence(self) -> str:
        return f'End with the very words "{self.text}", and write nothing behind them.'

    @property
    def _demands(self) -> Sequence[str]:
        return (self.text,)


class Title(Constraint):
    """A title between double angle brackets."""

    kind: Literal["title"]

    def _holds(self, answer: str) -> bool:
        return any(title.strip() for title in _TITLE.findall(answer))

    def _sentence(self) -> str:
        return "Give it a title between double angle brackets, such as <<A title>>."


class Postscript(Constraint):
    """A line that begins with P.S."""

    kind: Literal["postscript"]
    marker: Literal["P.S.", "P.P.S."] = "P.S."

    def _holds(self, answer: str) -> bool:
        lines = (line.strip().casefold() for line in answer.splitlines())
        return any(line.startswith(self.marker.casefold()) for line in lines)

    def _sentence(self) -> str:
        return f"At the end, add a postscript on a line that begins with {self.marker}"


class Quoted(Constraint):
    """All of it between double quotation marks."""

    kind: Literal["quoted"]

    def _holds(self, answer: str) -> bool:
        text = answer.strip()
        return len(text) > 2 and text[0] in '"\u201c' and text[-1] in '"\u201d'

    def _sentence(self) -> str:
        return "Put the whole answer between double quotation marks."


class Upper(Constraint):
    """All letters in capitals."""

    kind: Literal["upper"]

    def _holds(self, answer: str) -> bool:
        return answer.isupper()

    def _sentence(self) -> str:
        return "Write everything in capital letters."


class Lower(Constraint):
    """No letter in capitals."""

    kind: Literal["lower"]

    def _holds(self, answer: str) -> bool:
        # Not `islower`: a script without capitals has no letter in capitals either.
        return any(map(str.isalpha, answer)) and not any(map(str.isupper, answer))

    def _sentence(self) -> str:
        return "Write everything in small letters, without any capital."


class NoCommas(Constraint):
    """No comma of any script."""

    kind: Literal["no_commas"]

    def _holds(self, answer: str) -> bool:
        return not re.search("[,\uff0c\u3001\u060c]", answer)

    def _sentence(self) -> str:
        return "Do not use any commas."


class JsonOnly(Constraint):
    """One JSON object, and nothing around it but a code fence."""

    kind: Literal["json"]

    def _holds(self, answer: str) -> bool:
        text = answer.strip()
        fence = _FENCE.match(text)
        try:
            return isinstance(orjson.loads(fence[1] if fence else text), dict)
        except ValueError:
            return False

    def _sentence(self) -> str:
        return "Answer with one JSON object and nothing around it."


class Choice(Constraint):
    """One of a few answers."""

    kind: Literal["choice"]
    options: Phrases

    def _holds(self, answer: str) -> bool:
        return equivalent(answer) in map(equivalent, self.options)

    def _sentence(self) -> str:
        return f"Answer with one of these and nothing else: {' / '.join(self.options)}"


class Language(Constraint):
    """The language of the answer; `gate.constraints` asks the identifier of `gate.language`."""

    kind: Literal["language"]
    code: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
    """ISO 639."""

    def _sentence(self) -> str:
        return f"Answer in {LANGUAGE_NAMES.get(self.code, self.code)} and in no other language."


LANGUAGE_NAMES = {
    **{"ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French"},
    **{"hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch"},
    **{"pl": "Polish", "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "zh": "Chinese"},
}
"""ISO 639-1 code -> what the teacher is told."""

AnyConstraint = Annotated[
    Words
    | Sentences
    | Paragraphs
    | Bullets
    | Placeholders
    | Highlights
    | CapitalWords
    | Sections
    | Keyword
    | Letter
    | Keywords
    | NoKeywords
    | StartsWith
    | EndsWith
    | Title
    | Postscript
    | Quoted
    | Upper
    | Lower
    | NoCommas
    | JsonOnly
    | Choice
    | Language,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyConstraint)
CLASSES: dict[str, type[Constraint]] = {
    get_args(cls.model_fields["kind"].annotation)[0]: cls
    for cls in get_args(get_args(AnyConstraint)[0])
}
"""Kind -> its class."""


def read_constraint(value: object) -> Constraint:
    """The constraint that `{kind, ...}` is.

    Raises:
        ValueError: there is no such kind, or a value does not fit it; pydantic's message says what.
    """
    read: Constraint = _ADAPTER.validate_python(value)
    return read


def written(constraint: Constraint) -> dict[str, Any]:
    """The constraint as data, which `read_constraint` reads back."""
    return constraint.model_dump(exclude_none=True)


def _listed(words: Sequence[str], last: str = "and") -> str:
    quoted = [f'"{word}"' for word in words]
    if len(quoted) == 1:
        return f"the word {quoted[0]}"
    return f"the words {', '.join(quoted[:-1])} {last} {quoted[-1]}"
