"""How an engine goes up and comes down: environments, models, processes, and who is to blame when one dies."""
