"""The forms of archives: tar headers with right checksums, gzip, and the members of a tar.gz."""

import gzip
import io
import tarfile

from edits import Edit
from forms import BYTES, Form, Strategy
from hypothesis import strategies as st

BLOCK = 512
FIELDS = {
    "name": (0, 100),
    "size": (124, 12),
    "time": (136, 12),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
}
FIELD_VALUES = {
    "name": ["", "../../evil", "/etc/evil", "x" * 100, "\x1b[31m", "n\n1", "a/", "n01440764.tar", "\xff\xfe"],
    "size": [
        "00000000000",
        "77777777777",
        "-0000000600",
        "99999999999",
        "\x80" + "\xff" * 11,
        "\x80\0\0\0\x7f" + "\xff" * 7,
        " ",
        "x",
        "00000001000",
        "\xff" * 12,
    ],
    "time": ["-1", "\xff" * 12, "x"],
    "type": list("0123456789LKxgSDMNVAX\0\xff"),
    "link": ["/etc/passwd", "../x"],
    "magic": ["ustar\00000", "ustar  \0", "\0" * 8, "xxxxxxxx"],
}
BEFORE = {  # special members: (type, declared size or None for the right one, content)
    "pax size": ("x", None, b"18 size=-15366666\n"),
    "pax negative": ("x", None, b"14 size=-1536\n"),
    "pax text": ("x", None, b"10 size=x\n"),
    "pax huge": ("x", None, b"30 size=9999999999999999999\n"),
    "pax length": ("x", None, b"99999999 path=a\n"),
    "pax zero": ("x", None, b"0 path=a\n0 path=b\n"),
    "pax minus": ("x", None, b"-5 path=a\n"),
    "pax words": ("x", None, b"path a b c d\n"),
    "pax name": ("x", None, b"24 path=../../../evil.x\n"),
    "pax 8 GB": ("x", 8 << 30, b"14 path=x.JPEG"),
    "name 8 GB": ("L", 8 << 30, b"x.JPEG\0"),
    "name negative": ("L", -1, b"x.JPEG\0"),
    "name empty": ("L", None, b""),
    "global": ("g", 8 << 30, b"19 comment=nothing\n"),
    "folder": ("5", 1 << 33, b""),
    "link": ("2", None, b""),
    "device": ("3", None, b""),
    "sparse": ("S", None, b""),
}


def _headers(data: bytes) -> list[int]:
    """Return the offsets of all tar headers, those of tars within the tar among them."""
    return [at for at in range(0, len(data) - BLOCK + 1, BLOCK) if data[at + 257 : at + 262] == b"ustar"]


def _checked(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _draw_header(data: bytes) -> Strategy:
    places = st.sampled_from(_headers(data))
    field = st.sampled_from(list(FIELDS)).flatmap(
        lambda name: st.sampled_from(FIELD_VALUES[name]).map(lambda value: {"field": name, "value": value})
    )
    digits = st.integers(-10, 3 << 30).map(lambda size: {"field": "size", "value": f"{size:011o}"})
    before = st.sampled_from(list(BEFORE)).map(lambda name: {"before": name})
    ends = st.sampled_from(["twice", "cut", "double", "no end", "rest"]).map(lambda end: {"end": end})
    return st.builds(lambda at, change: {"at": at, **change}, places, st.one_of(field, digits, before, before, ends))


def _apply_header(data: bytes, edit: Edit, outside: str) -> bytes:
    """Edit one header of a tar, with a right checksum; or put a special member before it; or change the tar's end."""
    at = edit["at"]
    header = bytearray(data[at : at + BLOCK])
    if "field" in edit:
        start, length = FIELDS[edit["field"]]
        header[start : start + length] = edit["value"].encode("latin-1")[:length].ljust(length, b"\0")
        return data[:at] + _checked(header) + data[at + BLOCK :]
    if "before" in edit:
        kind, size, content = BEFORE[edit["before"]]
        size = len(content) if size is None else size
        header[156:157] = kind.encode()
        header[124:136] = (
            b"\xff" * 12 if size < 0 else b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11)
        )
        return data[:at] + _checked(header) + content + bytes(-len(content) % BLOCK) + data[at:]
    match edit["end"]:
        case "twice":
            return data + data
        case "cut":
            return data[:at]
        case "double":
            following = next((place for place in _headers(data) if place > at), len(data))
            return data[:following] + data[at:following] + data[following:]
        case "no end":
            return data.rstrip(b"\0")
        case _:
            return data + b"not zeros" * 100


def within_gzip(form: Form) -> Form:
    """Return the form of a gzip file, whose content is edited and compressed again."""
    return Form(
        lambda data: form.draw(gzip.decompress(data)),
        lambda data, edit, outside: gzip.compress(form.apply(gzip.decompress(data), edit, outside), 1, mtime=0),
    )


def within_member(suffix: str, form: Form) -> Form:
    """Return the form of a tar.gz in which the member whose name ends in `suffix` is edited."""

    def read(data: bytes) -> list[tuple[str, bytes]]:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            opened = ((member.name, tar.extractfile(member)) for member in tar)
            return [(name, file.read()) for name, file in opened if file is not None]

    def content(data: bytes) -> bytes:
        return next(content for name, content in read(data) if name.endswith(suffix))

    def apply(data: bytes, edit: Edit, outside: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            for name, file in read(data):
                info = tarfile.TarInfo(name)
                new = form.apply(file, edit, outside) if name.endswith(suffix) else file
                info.size = len(new)
                tar.addfile(info, io.BytesIO(new))
        return buffer.getvalue()

    return Form(lambda data: form.draw(content(data)), apply)


TAR_HEADER = Form(_draw_header, _apply_header)
GZIPPED_BYTES, GZIPPED_TAR_HEADER = within_gzip(BYTES), within_gzip(TAR_HEADER)
