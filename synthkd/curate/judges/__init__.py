"""Judges: a teacher says how good an answer is, and how far that is believed.

verdict.py      what was said, as it stands in the row; reading it out of a reply
rubrics.py      criteria, scales and weights, from a YAML file or from the row
rubric.py       `judge.rubric`: scores by criterion
"""
