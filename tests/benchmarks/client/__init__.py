"""How exactly, and how cheaply, a client of streams measures: ours and three others against a server that logs."""
