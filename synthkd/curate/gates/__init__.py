"""Gates: a row passes or is rejected, with the value and the threshold that decided."""
