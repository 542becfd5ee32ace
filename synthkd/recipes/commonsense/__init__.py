"""Symbolic knowledge distillation (West et al., arXiv 2110.07178): commonsense as triples.

events.py   new events, from some that are given
infer.py    what each event comes with, by relation
judge.py    which of a part of the triples hold, for a critic to learn from
corpus.py   heads divided into train, dev and test; rows for a student
listed.py   the items of a reply that is a list
"""
