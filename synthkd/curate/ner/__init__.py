"""What becomes of a row's mentions: placed in its text, and made into conversations."""
