"""Rows in and out: sources.py reads, spool.py keeps them on disk in order, exports.py writes."""
