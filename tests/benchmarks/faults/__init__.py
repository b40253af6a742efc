"""`make bench-faults`: public faults of new models, by the mechanisms that stand for them."""
