"""What the world sees, made from result files alone: no engine and no probe is needed to rebuild it."""
