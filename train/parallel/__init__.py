"""The processes of a run: columns, replicas, launching and stopping them."""
