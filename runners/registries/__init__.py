"""What a release says that it can run, read from its own registry: `python -P registries MODULE [SOURCE]`.

Standalone: it runs in the engine's environment or image, and imports nothing of this project and nothing of the engine.
It prints one JSON object: {"by": "architecture" or "model_type", "native": [names], "fallback": [names]}.
"""
