"""A small grammar of instructions: what to do, about what, for whom, how, on which occasion."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOPICS = """
    a garden in the shade; the first day at a new school; a bus line that is often late;
    sourdough bread; saving water at home; a lost suitcase; the history of the bicycle; a
    village library; night shifts in a hospital; growing tomatoes; a broken heating; the tides;
    learning to swim as an adult; a market stall for honey; moving to another country; the water
    cycle; a chess club; a long train journey; electric cars in winter; a family recipe; sharing
    a flat; bees in the city; an old lighthouse; a charity run; sleeping badly; a new neighbour;
    the rules of handball; repairing a jacket; a meeting without an end; a rainy holiday; the
    price of coffee; teaching fractions; a shy dog; a choir of beginners; volcanoes; a late
    invoice; working from home; a museum of clocks; the invention of paper; a vegetarian dinner;
    a hike in the fog; cleaning a river; a school play; buying a used car; an allergy to nuts;
    the moons of Jupiter; a small bakery; a strike of pilots; renting out a room; a speech at a
    wedding; crossing a desert; planting a hedge; a power cut; a first job interview; the
    migration of birds; a puzzle for children; a cracked phone; learning Greek; the value of
    silence; a ferry to an island; hosting an exchange student; a garden shed
"""
READERS = """
    a child of ten; a busy manager; somebody who is new to it; a local newspaper; a tourist; an
    elderly neighbour; a class of teenagers; an engineer; a worried parent; a team of
    volunteers; a customer who has complained; a friend abroad; a city council; a patient; a
    beginner
"""
CONDITIONS = """
    in exactly three sentences; without a single number; in a friendly tone; so that it fits on
    a postcard; with one example for each point; and end with a question; using no word of more
    than ten letters; in the form of a dialogue; as a numbered list; and name one risk; starting
    with the conclusion; in plain words; with a little humour; and say what it costs; in the
    past tense; from two points of view; and give a reason each time; in less than fifty words;
    as if it were 1900; and mention the weather
"""
OCCASIONS = """
    My sister asked me about it last night.; It is for a leaflet that goes out on Friday.; I
    have to decide by the end of the month.; We argued over dinner and found no answer.; Our
    teacher wants it by Monday.; The last attempt was dull and far too long.; Nobody in the
    office dares to ask.; I only have an old phone with me.; The budget is tight this year.; My
    grandfather used to do it differently.; It shall hang beside the coffee machine.; They will
    read it aloud at the gathering.; Start from what most people get wrong.; Assume that I know
    nothing.; Leave out everything that is obvious.; Be honest where it is not known.
"""
NUMBERS = ("two", "three", "four", "five", "six", "seven", "ten")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Instructions of one kind."""

    patterns: Sequence[str]
    """With places {topic}, {reader}, {condition}, {number}."""
    labels: Sequence[str] = ()
    """The answers that there are; empty = it is no classification."""
    needs_text: bool = False
    """Whether it speaks of a text that is given with it."""


FAMILIES: Mapping[str, Family] = {
    "write": Family(
        patterns=(
            "Write a short story about {topic} for {reader}, {condition}.",
            "Compose a poem that has to do with {topic} {condition}.",
            "I need a letter to {reader} concerning {topic}. Please draft it {condition}.",
            "Make up an advertisement for {topic} that would convince {reader}.",
            "Could you write the opening of a novel set around {topic}, {condition}?",
        )
    ),
    "explain": Family(
        patterns=(
            "Explain to {reader} what matters most about {topic}, {condition}.",
            "How does {topic} affect everyday life? Answer {condition}.",
            "What would {reader} want to know about {topic}?",
            "Describe {topic} {condition}.",
            "Why do people disagree about {topic}? Set out {number} reasons.",
        )
    ),
    "list": Family(
        patterns=(
            "List {number} mistakes that {reader} could make with {topic}.",
            "Give me {number} ideas for {topic}, {condition}.",
            "Name {number} questions one should ask about {topic} before spending money.",
            "Which {number} things does one need for {topic}?",
            "Suggest {number} titles for an article on {topic}.",
        )
    ),
    "plan": Family(
        patterns=(
            "Plan a week that revolves around {topic} for {reader}.",
            "Work out a budget for {topic} {condition}.",
            "Set up a timetable of {number} steps towards {topic}.",
            "How should {reader} prepare for {topic}? Think step by step.",
        )
    ),
    "compare": Family(
        patterns=(
            "Compare {topic} with {other} {condition}.",
            "Which is harder for {reader}: {topic} or {other}? Justify the choice.",
            "What do {topic} and {other} have in common? Find {number} points.",
        )
    ),
    "rewrite": Family(
        patterns=(
            "Rewrite the given paragraph about {topic} for {reader}.",
            "Shorten the following text on {topic} {condition}.",
            "Correct the grammar of the note below, which deals with {topic}.",
            "Turn the given remarks on {topic} into {number} clear bullet points.",
        ),
        needs_text=True,
    ),
    "sums": Family(
        patterns=(
            "If {topic} takes {number} hours a day, how many hours is that in {number} weeks?",
            "A ticket for {topic} costs {number} pounds; what do {number} cost?",
        )
    ),
    "mood": Family(
        patterns=(
            "Classify the message about {topic} as positive, negative or neutral.",
            "Tell whether the writer of the comment on {topic} is pleased or annoyed.",
        ),
        labels=("positive", "negative", "neutral"),
        needs_text=True,
    ),
    "true": Family(
        patterns=(
            "Decide whether the given statement about {topic} is true or false.",
            "Is the claim on {topic} below a fact or an opinion? Answer with one word.",
        ),
        labels=("true", "false"),
        needs_text=True,
    ),
    "sort": Family(
        patterns=(
            "Given a question of {reader} on {topic}, identify if it is urgent or can wait.",
            "Sort the given headline, which may be about {topic}, into politics, sport or culture.",
        ),
        labels=("urgent", "can wait"),
        needs_text=True,
    ),
}


def listed(text: str) -> tuple[str, ...]:
    """The items of one of the lists above."""
    return tuple(" ".join(item.split()) for item in text.split(";"))


def instruction(rng: random.Random) -> str:
    """One of some millions."""
    family = rng.choice(tuple(FAMILIES.values()))
    topic, other = rng.sample(listed(TOPICS), 2)
    text = rng.choice(family.patterns).format(
        topic=topic,
        other=other,
        reader=rng.choice(listed(READERS)),
        condition=rng.choice(listed(CONDITIONS)),
        number=rng.choice(NUMBERS),
    )
    occasion = rng.choice(listed(OCCASIONS))
    return rng.choice((text, f"{text} {occasion}", f"{occasion} {text}"))
