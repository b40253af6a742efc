"""The subcommands of `readiness`: they read options, call the rooms, and print. One module a kind of work."""
