"""File names as text that does not depend on the locale."""

import os


def as_text(name: str) -> str:
    """Return a name that the operating system gave as UTF-8 text; bytes that are no UTF-8 become surrogates.

    Python decodes names by the locale: in the locale C without UTF-8 mode, "é" comes as two surrogates. A class id,
    its place in the order and a dataset's bytes must not depend on that.
    """
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def as_file_name(text: str) -> str:
    """Return the name with which the operating system finds the file that `as_text` called `text`."""
    return text if text.isascii() else os.fsdecode(text.encode("utf-8", "surrogateescape"))
