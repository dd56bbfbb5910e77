"""The operator's socket and the metrics: what is asked of a running daemon, and what it answers."""
