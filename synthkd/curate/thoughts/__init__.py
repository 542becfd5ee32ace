"""Long reasoning: thought and solution, explored, filtered, rewritten, put together."""
