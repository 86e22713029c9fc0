"""The subcommands of ``latentsr``, a file a family."""
