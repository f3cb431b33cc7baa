"""One benchmark a module, for `tools/benchmark` alone, and the frame that they share."""
