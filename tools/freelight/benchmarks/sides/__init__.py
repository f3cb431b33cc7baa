"""The software that `benchmark compare` compares: one module for each, which runs in its environment through `run`."""
