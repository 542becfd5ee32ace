"""An evaluation as a section of a card: figures, and what must stand beside them.

Neither times nor days are in it, so a run that is repeated writes the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from synthkd.manifest import Contestant, Evaluation, Interval, called
from synthkd.text import escaped

HEADING = "## Evaluation"


def with_section(card: str, heading: str, lines: Sequence[str]) -> str:
    """The card with this section at its end, and no other of its kind; no lines, no section.

    Args:
        card: the whole text.
        heading: as it stands in the card, `## ...`.
        lines: what follows it.
    """
    rest = re.sub(rf"\n{re.escape(heading)}\n.*?(?=\n## |\Z)", "", card, flags=re.DOTALL)
    if not lines:
        return rest if rest.endswith("\n") else f"{rest}\n"
    return "\n".join([rest.rstrip("\n"), "", heading, "", *lines, ""])


def section(evaluation: Evaluation) -> list[str]:
    """The lines of the section."""
    rows = f"{evaluation.rows:,} rows held out as {evaluation.on}"
    return [
        f"On {rows}, with {evaluation.labels:,} different answers in gold:",
        "",
        "| who | metric | % | 95 % interval | student's lead, points |",
        "|---|---|---|---|---|",
        *_figures(evaluation),
        "",
        *[f"* {line}" for line in _beside(evaluation)],
    ]


def _figures(evaluation: Evaluation) -> Iterator[str]:
    for one in evaluation.contestants:
        for metric, figure in one.metrics.items():
            lead = one.versus_student.get(metric)
            ahead = "" if lead is None else f"{100 * lead.value:+.2f} ({_between(lead, '+')})"
            cells = _who(one), metric, f"{100 * figure.value:.2f}", _between(figure), ahead
            yield f"| {' | '.join(cells)} |"


def _between(figure: Interval, sign: str = "") -> str:
    return f"{100 * figure.low:{sign}.1f} to {100 * figure.high:{sign}.1f}"


def _who(one: Contestant) -> str:
    name = escaped(called(one.name, simulated=one.simulated, recorded=one.recorded))
    seeds = f", {one.seeds} seeds" if one.seeds > 1 else ""
    return f"{one.role}: {name}{seeds}".replace("|", "/")


def _beside(evaluation: Evaluation) -> Iterator[str]:
    """What must be known to believe the figures."""
    yield f"held-out rows among the rows to learn from: {evaluation.contamination}"
    if evaluation.left_out:
        yield (
            f"{evaluation.left_out:,} further rows, on which asking failed, were left out for"
            " everybody"
        )
    for one in evaluation.contestants:
        if one.answered < evaluation.rows:
            yield f"{_who(one)} answered {one.answered:,}; no answer is wrong"
    if (unseen := evaluation.unseen) is not None:
        yield f"{unseen.rows:,} rows have one of {unseen.labels:,} labels that it never learnt"
    if evaluation.forgetting is not None:
        yield from evaluation.forgetting.warnings
    if any(one.simulated for one in evaluation.contestants):
        yield "simulated figures show that the code works, not that a method does"
    yield from evaluation.notes
