"""The benchmarks of `freelight benchmark`, one per module, and what they share."""
