"""How far answers depend on the words of the question: the same rows asked in several ways.

The rows are drawn together for all wordings, so what differs between wordings is not the rows. Mean
and agreement are means over rows; worst and spread are extremes of several figures, which chance
makes look more extreme than they are: their intervals are moved by twice that bias, and Cochran's Q
says how often chance alone would set wordings as far apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from synthkd.config import EvaluateConfig
from synthkd.evaluate.metrics import metrics_of
from synthkd.evaluate.paired import figure
from synthkd.evaluate.scored import Scored, share_right
from synthkd.manifest import Wordings
from synthkd.rows import Json
from synthkd.text import answer_text, equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
    measure = metrics_of([name], tolerance=evaluate.tolerance, answer=evaluate.answer)[name]
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
            "mean": interval(_extreme(scored, "mean")),
            "worst": interval(_extreme(scored, "min")),
            "spread": interval(_extreme(scored, "ptp")),
            "agreement": interval(share_right(_agree(list(answers.values())))),
            "p": cochran(scored),
        }
    )


def _extreme(scored: Sequence[Scored], of: str) -> Scored:
    """The mean, the least, or the distance of the least and the most of several figures."""
    import numpy as np

    def at(weights: Floats) -> Floats:
        found: Floats = getattr(np, of)([one.at(weights) for one in scored], axis=0)
        return found

    means = [one.rows for one in scored if one.rows is not None]
    rows = np.mean(means, axis=0) if of == "mean" and len(means) == len(scored) else None
    return Scored(n=scored[0].n, at=at, rows=rows)


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
