"""Engines carry out a plan's segments: local.py does it with asyncio, in this process."""
