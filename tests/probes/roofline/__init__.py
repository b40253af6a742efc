"""Bytes and FLOPs of models, against values worked out by hand."""
