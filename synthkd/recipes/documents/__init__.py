"""Pairs of instruction and answer out of documents, each held against the text that it is from."""
