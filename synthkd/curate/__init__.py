"""What decides which rows stay: duplicates, gates, agreement between teachers."""
