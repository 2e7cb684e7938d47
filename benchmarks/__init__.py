"""Our parser and stream reader beside those of other projects: `make bench`."""
