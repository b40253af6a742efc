"""Standalone programs that turn one form of weights into another; they run in the reference environment."""
