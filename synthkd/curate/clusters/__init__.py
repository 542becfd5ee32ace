"""Groups of rows that are about the same: found, named, and given a share of the dataset."""
