"""Numbers of bytes as people write them: 200GB, 64 MiB, 1000."""

import re
from typing import Any

import click

_UNITS = {
    "": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("", "k", "M", "G", "T"))},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}


class ByteCount(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A number of bytes: digits, perhaps with a decimal point, and a unit: B, kB, MB, GB, TB, or KiB to TiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises `click.BadParameter` for anything else."""
        if isinstance(value, int):
            return value
        units = {unit.lower(): factor for unit, factor in _UNITS.items()}
        found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
        if found is None or found[2] not in units:
            self.fail(f"{value!r} is not a number of bytes, such as 200GB", param, ctx)
        factor: int = units[found[2]]
        return round(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor
