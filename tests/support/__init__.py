"""What the tests of several folders share; the scripted server is in `tests/server`."""
