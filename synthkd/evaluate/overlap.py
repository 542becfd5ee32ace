"""How much of a reference text another text has: ROUGE and chrF, by the libraries of the field.

Both are means over rows of a figure from 0 to 1, and both need the extra `metrics`, which a plan
looks for. Neither knows whether a text is true or good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from synthkd.evaluate.scored import Scored, mean_of
from synthkd.rows import Json
from synthkd.text import answer_text


class Words:
    """Words in lower case, of any script: `rouge-score`'s own rule keeps a to z and digits alone.

    On ASCII they are the same. Scripts without spaces between words are better measured by chrF.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in their order."""
        return re.findall(r"[^\W_]+", text.lower())


def _rouge(kind: str, gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    from rouge_score.rouge_scorer import RougeScorer

    scorer: Any = RougeScorer([kind], tokenizer=Words())
    return _each(gold, given, lambda one, said: float(scorer.score(one, said)[kind].fmeasure))


rouge_1 = partial(_rouge, "rouge1")
"""F of single words (Lin, 2004, ROUGE-1), without stemming."""
rouge_2 = partial(_rouge, "rouge2")
"""F of pairs of words."""
rouge_l = partial(_rouge, "rougeL")
"""F of the longest common subsequence of words."""


def chrf(gold: Sequence[Json], given: Sequence[Json]) -> Scored:
    """chrF2 of each row (Popovic, 2015): F of runs of 1 to 6 characters, recall weighted twice.

    The mean over rows, which is not sacreBLEU's figure for a corpus: that adds up the counts first.
    """
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    return _each(gold, given, lambda one, said: metric.sentence_score(said, [one]).score / 100)


def _each(
    gold: Sequence[Json], given: Sequence[Json], score: Callable[[str, str], float]
) -> Scored:
    pairs = [(answer_text(g), answer_text(a)) for g, a in zip(gold, given, strict=True)]
    # Answers repeat: of the base all are one.
    known = {(g, a): score(g, a) for g, a in set(pairs) if g is not None and a is not None}
    return mean_of([known.get((g, a), 0.0) if g and a else 0.0 for g, a in pairs])
