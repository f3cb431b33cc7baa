"""What every package needs: errors, atomic writes, locks, executors, and what commands do alike."""
