"""The page of a run: a report that opens from disk, and the same as it happens."""
