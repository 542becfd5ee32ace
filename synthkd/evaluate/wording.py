"""How far answers depend on the words of the question: the same rows asked in several ways.

The rows are drawn together for all wordings, so what differs between wordings is not the rows.
Worst and spread are extremes, which chance alone makes look more extreme than they are. So their
intervals come of intervals of all wordings, or of all pairs of them, that hold together with 95 %
(Bonferroni): the worst lies between the lowest lower and the lowest upper end, the spread between
the highest lower and the highest upper end of all leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from synthkd.config import EvaluateConfig
from synthkd.evaluate.metrics import metrics_of
from synthkd.evaluate.paired import figure, lead, mean_scored
from synthkd.evaluate.scored import Scored, share_right
from synthkd.manifest import Interval, Wordings
from synthkd.records.loading import schema_or_none
from synthkd.rows import Json
from synthkd.text import answer_text, equivalent


def over_wordings(
    who: str,
    gold: Sequence[Json],
    answers: Mapping[str, Sequence[Json]],
    *,
    evaluate: EvaluateConfig,
    seed: int,
) -> Wordings:
    """Figures of one contestant over all wordings.

    Args:
        who: its name.
        gold: the right answers.
        answers: wording -> what it said; None = no answer.
        evaluate: its first metric is the figure.
        seed: of the draws.
    """
    name = evaluate.metrics[0]
    measure = metrics_of(
        [name],
        tolerance=evaluate.tolerance,
        answer=evaluate.answer,
        record=schema_or_none(evaluate.record),
    )[name]
    scored = [measure.score(gold, given) for given in answers.values()]

    def interval(one: Scored) -> dict[str, float]:
        return figure([one], resamples=evaluate.bootstrap, seed=seed).model_dump()

    return Wordings.model_validate(
        {
            "who": who,
            "metric": name,
            "rows": len(gold),
            "by_wording": {
                wording: interval(one) for wording, one in zip(answers, scored, strict=True)
            },
            "mean": interval(mean_scored(scored)),
            "worst": worst(scored, resamples=evaluate.bootstrap, seed=seed).model_dump(),
            "spread": spread(scored, resamples=evaluate.bootstrap, seed=seed).model_dump(),
            "agreement": interval(share_right(_agree(list(answers.values())))),
            "p": cochran(scored),
        }
    )


def worst(scored: Sequence[Scored], *, resamples: int, seed: int) -> Interval:
    """The lowest of several figures on the same rows."""
    level = 1 - 0.05 / len(scored)
    found = [figure([one], resamples=resamples, seed=seed, level=level) for one in scored]
    return Interval(
        value=min(one.value for one in found),
        low=min(one.low for one in found),
        high=min(one.high for one in found),
    )


def spread(scored: Sequence[Scored], *, resamples: int, seed: int) -> Interval:
    """The highest minus the lowest of several figures on the same rows."""
    pairs = list(permutations(scored, 2))
    level = 1 - 0.05 / (len(pairs) / 2)
    leads = [lead([a], b, resamples=resamples, seed=seed, level=level) for a, b in pairs]
    return Interval(
        value=max(one.value for one in leads),
        low=max(0.0, *(one.low for one in leads)),
        high=max(one.high for one in leads),
    )


def _agree(answers: Sequence[Sequence[Json]]) -> list[bool]:
    """Of each row, whether every wording got an answer, and the same one."""
    return [
        len(set(map(_key, row))) == 1 and row[0] is not None for row in zip(*answers, strict=True)
    ]


def _key(answer: Json) -> str | None:
    text = answer_text(answer)
    return str(answer) if text is None and answer is not None else text and equivalent(text)


def cochran(scored: Sequence[Scored]) -> float | None:
    """How often chance alone would set wordings as far apart (Cochran, Biometrika 37, 1950).

    None = it is not a matter of right and wrong, or no row tells them apart.
    """
    import numpy as np
    from scipy.stats import chi2

    right = [one.right for one in scored if one.right is not None]
    if len(right) < max(2, len(scored)):
        return None
    table = np.array(right, np.float64)  # (wordings, rows)
    k = len(table)
    of_rows, of_wordings = table.sum(axis=0), table.sum(axis=1)
    within = float((of_rows * (k - of_rows)).sum())
    if within == 0:
        return None
    q = k * (k - 1) * float(((of_wordings - of_wordings.mean()) ** 2).sum()) / within
    return float(chi2.sf(q, k - 1))
