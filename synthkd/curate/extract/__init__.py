"""What becomes of a row's readings: evidence looked up, several made one, one written out."""
