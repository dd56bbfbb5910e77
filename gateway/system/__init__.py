"""This process and its host: limits, detaching, signals."""
