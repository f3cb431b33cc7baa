"""The experiments behind the paper's claims, one per module. `freelight reproduce` runs them."""
