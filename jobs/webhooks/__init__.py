"""Telling a client of its job's end by HTTP: signed, tried again for days, to safe targets only."""
