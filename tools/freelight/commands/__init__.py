"""The sub-commands of `freelight`, one a module: each holds its `command`."""
