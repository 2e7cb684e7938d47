"""`make bench`: compares our parser and stream reader with those of other projects."""
