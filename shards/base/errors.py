"""The one exception that users are meant to read."""


class FreelightError(ValueError):
    """Bad input, in one line: what, which value, where, and the remedy. Commands print it and exit 2."""
