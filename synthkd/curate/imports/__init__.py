"""Steps for dumps that others made: read into candidates, gathered, audited."""
