"""What is asked of a running engine, and what the answer means."""
