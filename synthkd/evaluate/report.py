"""How well each label is told from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthkd.feedback import LabelReport
from synthkd.text import equivalent


def label_report(gold: Sequence[str], answers: Sequence[str | None]) -> Mapping[str, LabelReport]:
    """Precision, recall and F1 of each label in gold, in the order of the labels.

    Args:
        gold: the right answers, at least one; equivalent spellings are one label, named by its
            first.
        answers: one for each row; None is wrong.
    """
    from sklearn.metrics import precision_recall_fscore_support

    names: dict[str, str] = {}
    for label in gold:
        names.setdefault(equivalent(label), label)
    labels = sorted(names)
    figures = precision_recall_fscore_support(
        [equivalent(label) for label in gold],
        ["" if answer is None else equivalent(answer) for answer in answers],
        labels=labels,
        zero_division=0.0,
    )
    return {
        names[label]: LabelReport(
            precision=float(precision), recall=float(recall), f1=float(f1), support=int(support)
        )
        for label, precision, recall, f1, support in zip(labels, *figures, strict=True)
    }
