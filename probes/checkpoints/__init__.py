"""Tiny checkpoints: the architecture of a published model, shrunk in size only, with weights that make it matter."""
