"""The sub-commands of `freelight`, one per module, as its `command`."""
