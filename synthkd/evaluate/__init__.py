"""Figures of an evaluation, from lists of answers and gold; knows no teacher, file or run."""
