"""The reference forward pass and its noise, computed in an environment of its own and kept."""
