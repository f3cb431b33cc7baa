"""Files that lie among the pictures of real copies and are no pictures: they are counted, and never rejected."""

import re

HIDDEN = "hidden"

_FOLDERS = frozenset(
    {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information", "paxheader", "paxheaders"}
)
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_TEXT = re.compile(
    r".+\.(cfg|css|csv|docx?|html?|ini|ipynb|jsonl?|log|markdown|mat|md|md5|pdf|py|rst|rtf|sh|sha1|sha256|toml|tsv|txt|"
    r"url|xlsx?|xml|ya?ml)$",
    re.IGNORECASE,
)
_DOCUMENTS = frozenset({"readme", "license", "licence", "copying", "changelog", "md5sums", "sha1sums", "sha256sums"})


def ignored_file(name: str) -> str | None:
    """Return the kind of a file that is no picture by its name, such as "hidden" or "*.txt"; None for any other."""
    if name.startswith("."):
        return HIDDEN
    if name.endswith((".JPEG", ".jpg", ".png")):  # the common case first, because ImageNet has a million names
        return None
    if name.lower() in _FILES or name.lower() in _DOCUMENTS:
        return name
    text = _TEXT.match(name)
    return f"*.{text[1].lower()}" if text else None


def ignored_folder(name: str) -> str | None:
    """Return the kind of a folder whose contents are no pictures by its name; None for any other."""
    if name.startswith("."):
        return HIDDEN
    return f"{name}/" if name.lower().partition(".")[0] in _FOLDERS else None  # also PaxHeaders.1234


def ignored_member(path: str) -> str | None:
    """Return the kind of a tar's member that is no picture by its path; None for any other."""
    folders, _, name = path.rpartition("/")
    for folder in folders.split("/") if folders else ():
        if folder not in (".", "..") and (kind := ignored_folder(folder)):
            return kind
    return ignored_file(name)
