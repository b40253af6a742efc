"""Makes a tiny checkpoint of a shrunk config: `python -P program --config FILE --name NAME --out FOLDER`.

Runs in the environment of the reference forward pass and imports nothing of this project. Writes the config as it was
given, weights that make every part of the architecture matter, a small tokenizer, and `checkpoint.json`, which says
what was measured while the weights were drawn.
"""
