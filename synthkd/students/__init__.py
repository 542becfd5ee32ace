"""Students: what is trained on the kept rows, saved, loaded and asked."""
