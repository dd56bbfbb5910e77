"""The one error of the benchmark: something keeps it from measuring; the text is one line for a human."""


class BenchError(Exception):
    """Cannot measure; the message says what is wrong and, where that is not obvious, what to do."""
