"""How JPEGs are decoded: which part of a picture, and DALI's settings of its decoder on a GPU."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from ...shards import FreelightError
from ...shards.base import check_fields, whole_number

Decode = Literal["window", "whole"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How JPEGs are decoded.

    decode: `window`, only the part that the crop uses; or `whole`, the picture, out of which the crop is then cut. On
    the CPU the pixels are the same.

    The others are settings of DALI's decoder on a GPU, by its names; the CPU's decoder has none of them. None is DALI's
    default. hw_decoder_load: share of a batch that the GPU's JPEG hardware decodes, 0..1, where it has some (0.65 by
    default). preallocate_width_hint, preallocate_height_hint: size of the largest picture, pixels, for which this
    hardware's memory is allocated at the start. device_memory_padding, host_memory_padding: bytes that each decoding
    thread allocates at the start, on the GPU and in pinned memory of the host.
    """

    decode: Decode = "window"
    hw_decoder_load: float | None = None
    preallocate_width_hint: int | None = None
    preallocate_height_hint: int | None = None
    device_memory_padding: int | None = None
    host_memory_padding: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.hw_decoder_load is not None and not 0 <= self.hw_decoder_load <= 1:
            raise FreelightError(f"`hw_decoder_load` (={self.hw_decoder_load}) must lie in 0..1")
        for name, value in self._given().items():
            if name != "hw_decoder_load":
                whole_number(name, value)

    def settings(self, device: Literal["cpu", "gpu"]) -> dict[str, Any]:
        """Return the settings of DALI's decoder; "fancy upsampling" makes nvJPEG's chroma as fine as the CPU's."""
        if device == "cpu":
            return {"device": "cpu", "jpeg_fancy_upsampling": True}
        return {"device": "mixed", "jpeg_fancy_upsampling": True, **self._given()}

    def _given(self) -> dict[str, Any]:
        """Return DALI's settings that are given, by name."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name != "decode" and value is not None}
