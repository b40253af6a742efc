"""Makes a checkpoint that says what is written down. Standalone: runs in the reference's environment."""
