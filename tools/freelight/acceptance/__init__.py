"""The parts of `freelight gpu-acceptance`, which runs Freelight on a card for the first time."""
