"""Renders conversations by a checkpoint's own template. Standalone: runs in the reference's environment."""
