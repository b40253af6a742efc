"""What a model costs to run: bytes and FLOPs, from its config and from the tensors that its checkpoint holds."""
