"""`make bench-bugs`: how well signatures and clusters agree with causes that are known."""
