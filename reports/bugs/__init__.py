"""From a failure to a bug report: when two failures are the same, and the draft that a maintainer would read."""
