"""One file an engine: how it is started, and how it is asked and understood. Nothing else knows an engine's name."""
