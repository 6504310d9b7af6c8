"""Kills and pauses every process of a working stack, and counts what is lost: nothing may be."""
