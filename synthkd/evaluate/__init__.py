"""Base, teachers and student on the same held-out rows."""
