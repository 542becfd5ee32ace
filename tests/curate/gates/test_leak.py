from __future__ import annotations

import pytest

from tests.curate.gates.passing import reason_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Yes.<|im_end|>", "tokens"),
        ("Yes. [INST] And now?", "tokens"),
        ("<start_of_turn>model", "tokens"),
        ("Fine.</s>", "tokens"),
        ("Yes.\n\n### Response:\nNo.", "headings"),
        ("Dear {{ customer.name }}, hello.", "variables"),
        ("{% if name %}Hello", "variables"),
        ("Assistant: It is blue.", "roles"),
        ("**Response:** It is blue.", "roles"),
    ],
)
async def test_what_a_template_left_behind(text: str, kind: str) -> None:
    told = await reason_of("gate.leak", {}, text)
    assert told is not None
    assert told.startswith("template_leak: text has ")
    assert told.endswith(f"({kind})")
    others = [each for each in ("tokens", "headings", "variables", "roles") if each != kind]
    assert await reason_of("gate.leak", {"kinds": others}, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ud800",
        "### Instructions:\n1. Mix the flour.",
        "Use `{{ name }}` for the name.",
        "```\n{{ name }}\n```",
        "<p>{{ name }}</p>",
        "a = {b: {c: 1}}",
        "<s>struck out</s> text",
        "Anna: Hello!\nBen: Hello!",
        "The user: a person who uses.",
    ],
)
async def test_what_only_looks_like_it(text: str) -> None:
    assert await reason_of("gate.leak", {}, text) is None


@pytest.mark.parametrize("piece", ["{{", "<|", "`", "```", "{{ a", "[INST", "<", "### "])
async def test_five_megabytes_of_beginnings(piece: str) -> None:
    assert await reason_of("gate.leak", {}, piece * (5_000_000 // len(piece))) is None
