"""Helpers that several test folders share. The scripted server is in `tests/server`."""
