"""A name server that lies as it is told: its messages, its zone, its habits, and the process that serves them.

Tests use `tests.support.lyingserver` and the habits; nothing here is fit for anything but a test.
"""
