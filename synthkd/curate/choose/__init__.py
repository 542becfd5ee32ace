"""Choosing: of all that teachers answered to a row, what a student learns from."""
