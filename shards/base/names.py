"""Check the file names that come out of a file before they become paths."""

import re

from .errors import FreelightError

PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def check_plain_name(name: object, where: str) -> None:
    """Raise `FreelightError` unless `name` is a plain file name, which cannot leave its folder.

    It has letters, digits, dots, underscores and hyphens, and no leading dot. where: names the file and the entry.
    """
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
        raise FreelightError(
            f"{where} has the name {name!r}; a name must consist of letters, digits, '.', '_' and '-', without a "
            "leading dot: do not trust this dataset"
        )
