"""What a network has learned: features, retrieval, codes, charts, panels and the report."""
