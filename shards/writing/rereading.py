"""Read a shard that make_shards wrote: its index, and what the tables of its split say of its samples."""

import itertools
import re
import zlib
from pathlib import Path

from ..base import FreelightError
from ..dataset import index_line
from ..images import MAX_PICTURE, read_frame
from ..sources import open_tar
from .shard import WrittenSample


def reread_shard(path: Path) -> tuple[bytes, list[WrittenSample]]:
    """Return the index and the samples of a shard. The samples lack kind and path, which the tar does not hold.

    Raises `FreelightError` if `make_shards` did not write the tar.
    """
    lines, samples = [], []
    for key, found in itertools.groupby(open_tar(path), lambda member: member[0].name.rpartition(".")[0]):
        members, contents = [], []
        for (name, offset, size), read_at in found:
            members.append((name.rpartition(".")[2], offset, size, name))
            contents.append(read_at(offset, min(size, MAX_PICTURE)))
        if [member[0] for member in members] not in (["cls", "jpg"], ["cls", "jpg", "json"]) or not re.fullmatch(
            rb"-1|[0-9]{1,9}", contents[0]
        ):
            raise FreelightError(f"{path} was not written by make_shards: see its sample {key}")
        jpeg = contents[1]
        height, width, _ = read_frame(jpeg) or (0, 0, 0)
        metadata = members[2][1:3] if len(members) > 2 else (0, 0)
        of_jpeg = (members[1][1], len(jpeg), int(contents[0]), zlib.crc32(jpeg))
        samples.append(WrittenSample(*of_jpeg, "", "", height, width, *metadata))
        lines.append(index_line(members))
    return f"v1.2 {len(samples)}\n{''.join(lines)}".encode(), samples
