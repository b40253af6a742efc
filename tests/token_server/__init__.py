"""A streaming server that generates nothing, sends tokens on a schedule, and logs when it really sent each."""
