"""The exceptions for errors that the user can correct."""


class FreelightError(ValueError):
    """Bad input, in one line: what is wrong, which value, where, and the remedy. Commands print it and exit with 2.

    Names of arguments are in backticks (`batch_size`); commands replace them with their options (--batch-size).
    """


class UnusablePackageError(FreelightError, ImportError):
    """A package that Freelight needs cannot be imported."""


class UnavailableError(FreelightError):
    """A store, or the disk of a cache, does not serve now: no single file or sample is at fault."""
