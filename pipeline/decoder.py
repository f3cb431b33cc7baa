"""The life of a DALI pipeline: defined once, fed by reads, run batch by batch, reset at the end of each epoch."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import torch
from nvidia.dali import Pipeline
from torch.utils.dlpack import from_dlpack

from ..shards import FreelightError, Statistics
from .choices import Choices
from .decoded import DecodedStore
from .finishing import Finishing, ends_in_torch, made_ahead
from .graph import Layout, beginnings_of, define_pipeline, graph_feed
from .ops import Decoding
from .reading import ReadAhead, SampleReader, Share
from .resizer import Resizer
from .running import end_epoch, run
from .transform import Transform
from .views import Views, parts_of, viewed


class Decoded(NamedTuple):
    """One step. step: its samples on all ranks. samples: those of this rank. images: of `samples`: a tensor, or of
    `Views` a tuple of them.
    """

    step: Share
    images: Any
    samples: Share


class Decoder:
    """The DALI pipelines of a transform, and what feeds them; all are reused for every epoch.

    reader: reads the samples, and finds the one that DALI could not decode. share_size: maximum number of images per
    batch on this rank. decoding: of JPEGs. store: of decoded pixels, used in place of JPEGs. is_exchanged: ranks
    exchange the batches of `decode`, which `finished` then completes. After an error or an unfinished epoch the decoder
    cannot be used again; make a new one.
    """

    def __init__(
        self,
        transform: Transform | Views,
        reader: SampleReader,
        *,
        image_size: int | None,
        statistics: Statistics | None,
        share_size: int,
        num_threads: int,
        prefetch: int,
        device: torch.device,
        layout: Layout,
        decoding: Decoding,
        store: DecodedStore | None = None,
        is_exchanged: bool = False,
    ) -> None:
        self.transform = transform
        self._device = device
        self._is_exchanged = is_exchanged
        of_data: dict[str, Any] = {"image_size": image_size, "statistics": statistics}
        self._finishings = [
            Finishing(part, layout=layout, device=device, **of_data)
            if ends_in_torch(part, device, is_exchanged=is_exchanged)
            else None
            for part, _ in parts_of(transform)
        ]
        self._parts = [
            (part if finishing is None else finishing.before, views)
            for (part, views), finishing in zip(parts_of(transform), self._finishings, strict=True)
        ]
        self._choices: Sequence[Choices] = ()
        self._reader = reader
        self._prefetch = prefetch
        self._reads = ReadAhead(len(self._parts))
        self._resizer: Resizer | None = None
        beginnings = beginnings_of(
            (part for part, _ in self._parts), device.index, layout=layout, is_stored=store is not None
        )
        if any(beginning != "jpegs" for beginning in beginnings):
            self._resizer = Resizer(
                self._parts,
                beginnings,
                reader,
                share_size=share_size,
                num_threads=num_threads,
                store=store,
                decoding=decoding,
            )
            prefetch = min(prefetch, 1)  # it also works ahead
        self._graphs = [
            _Graph(
                part,
                self._reads,
                number,
                device=device,
                layout=layout,
                **of_data,
                batch_size=views * share_size,
                num_threads=num_threads,
                prefetch=prefetch + 1,
                beginning=beginning,
                decoding=decoding,
            )
            for number, ((part, views), beginning) in enumerate(zip(self._parts, beginnings, strict=True))
        ]

    def start(self, thread: ThreadPoolExecutor, shares: list[Share], choices: Sequence[Choices]) -> None:
        """Start to read the JPEGs of this rank's share of each step in `thread`. choices: of `choose_parts`."""
        self._choices = choices
        choices = [
            own if finishing is None else own.without(("light",))
            for own, finishing in zip(choices, self._finishings, strict=True)
        ]
        if self._resizer is None:
            self._reads.start(thread, partial(self._read_inputs, choices), shares, self._prefetch + 2)
        else:
            next_inputs = self._resizer.start(thread, shares, choices)
            self._reads.start(self._resizer.thread, next_inputs, shares, max(1, self._prefetch))

    def decode(self, steps: list[Share]) -> Iterator[Decoded]:
        """Return an iterator over the images of this rank's share of each step."""
        if self._is_exchanged or not any(self._finishings):
            return self._decode(steps)
        finished = self.finished(self._decode(steps))
        return made_ahead(finished, self._device) if all(self._finishings) else finished

    def finished(self, batches: Iterator[Decoded]) -> Iterator[Decoded]:
        """Yield batches with the end of the transform, where their images are uint8 without it."""
        for batch in batches:
            yield batch._replace(images=self._finish(batch.images, batch.samples))

    def _finish(self, images: Any, samples: Share) -> Any:
        views, found = iter(images if isinstance(self.transform, Views) else (images,)), []
        for finishing, choices, (_, count) in zip(self._finishings, self._choices, self._parts, strict=True):
            occurrences = viewed(samples, count, len(self._reader.entries)).reshape(count, -1)
            for own, view in zip(occurrences, views, strict=False):
                found.append(
                    view if finishing is None else finishing.finish(view, choices.only(finishing.names).take(own))
                )
        return tuple(found) if isinstance(self.transform, Views) else found[0]

    def _decode(self, steps: list[Share]) -> Iterator[Decoded]:
        for step in steps:
            samples = self._reads.next_samples()
            views = [view for number in range(len(self._parts)) for view in self._views(number, samples)]
            yield Decoded(step, tuple(views) if isinstance(self.transform, Views) else views[0], samples)

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        for graph in self._graphs:
            end_epoch(graph.pipeline)
        if self._resizer is not None:
            self._resizer.end_epoch()

    def stop(self) -> None:
        """End what works ahead, after the thread that reads; drop its batches."""
        self._reads.clear()
        if self._resizer is not None:
            self._resizer.stop()

    def _views(self, number: int, samples: Share) -> tuple[torch.Tensor, ...]:
        """Return the next batch of a part, view by view."""
        graph, (_, views) = self._graphs[number], self._parts[number]
        if not len(samples):
            return (graph.empty,) * views
        images = graph.run(samples, self._reader)
        return (images,) if views == 1 else images.view(views, len(samples), *images.shape[1:]).unbind()

    def _read_inputs(self, choices: Sequence[Choices], share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        """Read one share and look up its draws. Returns its undamaged samples and each graph's inputs."""
        self._reader.announce(later)
        samples, jpegs = self._reader.read(share)
        return samples, [
            graph_feed(own, viewed(samples, views, len(self._reader.entries)), jpegs * views)
            for own, (_, views) in zip(choices, self._parts, strict=True)
        ]


class _Graph:
    """One transform's pipeline, which takes the inputs `number` of `reads`.

    kept: the inputs of batches that are not returned yet, if it begins with crops.
    """

    def __init__(
        self,
        transform: Transform,
        reads: ReadAhead,
        number: int,
        *,
        device: torch.device,
        layout: Layout,
        **settings: Any,
    ) -> None:
        self._device = device
        fed = deque[list[Any]]()

        # No method: in a cycle with this object, the pipeline would be freed much later.
        def next_inputs() -> list[Any]:
            fed.append(reads.next_inputs(number))
            return fed[-1]

        self.pipeline: Pipeline = define_pipeline(
            transform,
            source=next_inputs,
            device_id=device.index,
            layout=layout,
            **settings,
        )
        # The inputs of batches that are not returned yet. Freed after the pipeline: were its threads the last to hold
        # them, they would need the GIL, once an image, and could not get it at the interpreter's end.
        self._fed = fed
        self._reads = reads
        self._dtype: torch.dtype = getattr(torch, transform.dtype)
        size = transform.crop.size
        shape = (3, size, size) if layout == "NCHW" else (size, size, 3)
        views = [transform.views] if transform.views > 1 else []
        self.empty = torch.empty((0, *views, *shape), dtype=self._dtype, device=device)
        """A batch of no images."""

    def run(self, samples: Share, reader: SampleReader) -> torch.Tensor:
        """Return the next batch, which is of `samples`."""
        if self._device.type == "cpu":
            output = run(self.pipeline, samples, reader)
        else:
            with torch.cuda.device(self._device):
                output = run(self.pipeline, samples, reader, torch.cuda.current_stream())
        self._reads.free(self._fed.popleft())
        is_on_cpu = self._device.type == "cpu"
        # From the CPU a capsule: torch would first ask for a version that DALI refuses, which takes 0.1 ms.
        images: torch.Tensor = from_dlpack(output.as_tensor().__dlpack__() if is_on_cpu else output.as_tensor())
        # On the CPU no copy but for bfloat16, which DALI does not have: its executor reuses a buffer only after its
        # tensor is gone. On a GPU it then writes on a stream of its own, while work that torch has queued may still
        # read. So torch copies, and `output`, which frees the buffer in the order of the current stream, goes last.
        return images.to(self._dtype, copy=not is_on_cpu)


def resolve_device(wanted: object) -> torch.device:
    """Return the CPU, or a CUDA device with its index: without one, that of `torch.cuda.set_device`."""
    try:
        device = torch.device(wanted)  # type: ignore[call-overload]
        found = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except (RuntimeError, TypeError):
        found = False
    if not found:
        raise FreelightError(f"`device` {str(wanted)!r} is neither the CPU nor a CUDA device that torch finds")
    if device.type == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
