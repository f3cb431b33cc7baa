"""The exception for errors that the user can correct."""


class FreelightError(ValueError):
    """Bad input, said in one line: what is wrong, which value, where, and the remedy. Commands print it and exit 2.

    Names of arguments stand in backticks (`batch_size`), which commands replace by their options (--batch-size).
    """
