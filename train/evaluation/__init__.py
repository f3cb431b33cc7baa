"""What trained networks predict: passes over a split, averages, scores, submissions, picture files."""
