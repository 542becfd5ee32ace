"""Judges: a teacher says how good an answer is, and how far that is believed.

verdict.py      what was said, as it stands in the row; reading scores out of a reply
objects.py      the JSON objects that a reply says itself
choices.py      reading which of two answers a reply prefers
rubrics.py      criteria, scales and weights, from a YAML file or from the row
scoring.py      what judges that score one answer share
rubric.py       `judge.rubric`: scores by criterion
reference.py    `judge.reference`: scores against a reference
panel.py        `judge.panel`: several families, each counts once
pairwise.py     `judge.pairwise`: which of two is better, in both orders
margins.py      how often the first wins over a run, and would at equal length
expected.py     `judge.expected`: a digit, expected where the judge has probabilities
reward.py       `judge.reward`: the number of a served reward model
best_of.py      `judge.best_of`: the best of several answers, and what choosing costs
selfj.py        `judge.selfj`: rows that a judge of one's own is trained on
"""
