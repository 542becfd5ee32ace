r"""Answers: what a reply answers, in one spelling, and when two answers are the same. Pure.

    >>> config = AnswerSettings(type="number")
    >>> read("Six boxes of 200. The answer is $1,200.00 a day.", config)
    Reading(status='ok', answer='1200', said='$1,200.00 a day', rationale='Six boxes of 200.', ...)
    >>> same("1200", "1.2e3", config)
    True
    >>> grouped(["1200", None, "7", "1,200"], config)
    [0, None, 1, 0]

Recipes read replies, gates compare with gold, votes group, evaluation counts: all by the same
`AnswerSettings`, the block `answer:` of the pipeline file. Nothing is executed, and everything is
linear in the length of the reply.
"""

from synthkd.answers.choices import choices_of, named_choices
from synthkd.answers.gold import gold_of
from synthkd.answers.reading import READ, Reading, before, read
from synthkd.answers.settings import AnswerSettings, AnswerType
from synthkd.answers.types import canonical, grouped, same

__all__ = [
    "READ",
    "AnswerSettings",
    "AnswerType",
    "Reading",
    "before",
    "canonical",
    "choices_of",
    "gold_of",
    "grouped",
    "named_choices",
    "read",
    "same",
]
