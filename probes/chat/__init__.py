"""What is asked of an engine's chat route, and what must come back."""
