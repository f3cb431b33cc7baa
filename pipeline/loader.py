"""The loader: batches of a split as torch tensors, every sample once per epoch, resumable at any batch."""

import dataclasses
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch.utils.data import IterableDataset, get_worker_info

from ..shards import Dataset, FreelightError, Mixture, Statistics
from ..shards.base import CountOrAuto, decoding_threads, instance_of, whole_number
from .batch import BatchMaker, check_extras
from .choices import Choices
from .dealing import Dealing
from .decoded import DamagedPixelsError, DecodedCheck, DecodedStore
from .decoder import Decoder, resolve_device
from .draws import Order
from .epochs import Cursor, EpochPlan, Last, Step, check_state
from .exchange import Exchange
from .graph import Layout
from .mix import Mix
from .mixer import Mixer
from .ops import Decoding, side_of
from .permutations import Permutations
from .ranks import check_group, check_launched, known_ranks, local_processes, warn_of_shares
from .reading import OnError, SampleReader, Share, UndecodableError, check_cache, reader_thread
from .repeats import repeated
from .sampler import EpochSampler
from .sampling import Samples, Subset, Weights, choose_plan
from .schedule import Schedule, as_schedule
from .transform import Transform
from .views import Views, parts_of
from .windowed import ShardWindow, check_window, window_shards

_READ_ONLY = {
    *("dataset", "split", "batch_size", "statistics", "seed", "order", "window", "device", "prefetch", "layout"),
    *("group", "check_exchange", "last", "steps_per_epoch", "repeats", "extras", "mix", "schedule"),
    *("subset", "weights", "balanced", "num_samples"),
    *("decoding", "decoded", "decoded_bytes", "decoded_check"),
}
MOST_PREFETCH = 1024
"""Limit: more are a mistake, and would take the machine's memory."""


class Loader(IterableDataset[Any]):
    """Iterate over this rank's share of every batch of an epoch; each iteration is a whole epoch.

    dataset: a `Dataset`, its path, or a `Mixture`. split: its name. batch_size: images per step, over all ranks.
    transform: what is done to each image, `Views` of it, or a `Schedule` of these by epoch; by default the paper's.
    statistics: of the training set, if the transform needs them; by default the dataset's own. order: `global` (a new
    permutation each epoch), `sequential`, or `windowed`: shards come in a new order each epoch, and samples are drawn
    from a window of them, so that a small cache is enough for a dataset behind a URL, and a disk is read in long
    stretches. window: a fraction of the split's shards, or, as an int, a number of them; by default 0.1. extras:
    further fields of a batch: see `Batch`. mix: Mixup, CutMix and label smoothing: see `Mix`. device: "cpu" or a CUDA
    device. A CUDA batch is ready on the CUDA stream that is current when it is requested; keep a reference to it while
    another stream uses it. num_threads: CPU threads that decode; `auto` is this process's share of the machine's cores,
    at most 16. prefetch: batches decoded ahead. layout: order of the axes of a batch. decoding: of JPEGs: see
    `Decoding`. on_error: `raise` an error for a damaged sample, or `skip` up to `max_skipped` of them (`skipped` maps
    each to its reason).

    Decoded pixels. decoded: a folder that keeps them. A sample is decoded in its first pass only; later passes read its
    pixels there, 3 * height * width bytes: 252 GB for ImageNet at 256 pixels. Batches are the same, to the bit.
    decoded_bytes: maximum size of this split's pixels; samples beyond it are decoded in every epoch. decoded_check:
    compare the crc32 of a sample's pixels the `first` time that this loader reads them, or `always`.

    Sampling. By default an epoch has every sample once. subset: some samples only: see `Subset`. weights: draw
    `num_samples` of them an epoch with replacement, in proportion to the weight of each sample of the split (an array),
    or of all samples of each class (a dict by id or name): the law of torch's `WeightedRandomSampler`. balanced: each
    class comes equally often; the epochs go through its samples in permutation after permutation. num_samples: length
    of an epoch with `weights`, `balanced` or the ratios of a `Mixture`: as many as there are samples, for `balanced`
    rounded down to a multiple of the classes. A sample that comes several times in an epoch has draws of its own each
    time. Labels stay as they are.

    Epochs. An iteration starts the epoch that `set_epoch` named, otherwise the next one; breaking it off ends its
    epoch. Only the first iteration after `load_state_dict` continues inside an epoch, also if `set_epoch` names that
    epoch. The state is (seed, epoch, position): resume it on any number of ranks, with any batch size. With
    `steps_per_epoch`, an epoch has that many steps, and the next one continues through the permutation of the samples.
    repeats: images of each sample in a global batch, each with draws of its own (repeated augmentation): an epoch has
    every sample that many times, and `batch_size` must be a multiple of it. In a batch all samples come once, then all
    of them again, so with at least `repeats` ranks the images of a sample are on different ranks.
    An iterator from which no batch was taken does not count. A newer iterator, `set_epoch` or `load_state_dict` ends
    the current one: its next step raises an error.

    Ranks. Each of `world_size` ranks gets a share of every batch; shares differ by at most one sample, and all ranks
    take the same number of steps. Without `rank` and `world_size`, those of torch's process group are used, as it is at
    the first iteration; without a group, 0 of 1. last: if the last batch is short, keep it (`short`; a rank's share may
    be empty, so a mean over a batch must divide by `global_size`), `drop` it, or cut it to a multiple of the ranks
    (`even`). By default it is kept, and a warning says so if the ranks are those of a process group. group: for model
    parallelism, the processes that need the same whole batch: each decodes its share, then they exchange shares.
    check_exchange: verify by checksums that all ranks of the group hold the same batch.

    The loader is an `IterableDataset`: `DataLoader(loader, batch_size=None)` works, without worker processes. It can be
    pickled and copied with its state. Settings are read-only, because the draws and the state depend on them. A thread
    reads ahead; it ends with the loader, with `close`, or with an unfinished iteration. `wait_seconds` is the total
    time that iteration waited for batches.
    """

    # What frameworks look for in a DataLoader.
    num_workers: Final = 0
    batch_sampler: Final = None

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        split: str,
        *,
        batch_size: int,
        transform: Transform | Views | Schedule | None = None,
        statistics: Statistics | None = None,
        seed: int = 0,
        order: Order = "global",
        window: ShardWindow | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        device: str | torch.device = "cpu",
        num_threads: CountOrAuto = "auto",
        prefetch: int = 2,
        layout: Layout = "NCHW",
        decoding: Decoding = Decoding(),  # noqa: B008
        group: dist.ProcessGroup | None = None,
        check_exchange: bool = False,
        last: Last | None = None,
        steps_per_epoch: int | None = None,
        repeats: int = 1,
        subset: Subset | None = None,
        weights: Weights | None = None,
        balanced: bool = False,
        num_samples: int | None = None,
        extras: Sequence[str] = (),
        mix: Mix | None = None,
        on_error: OnError = "raise",
        max_skipped: int = 0,
        decoded: str | os.PathLike[str] | None = None,
        decoded_bytes: int | None = None,
        decoded_check: DecodedCheck = "first",
    ) -> None:
        self.dataset: Final = Dataset(dataset) if isinstance(dataset, str | os.PathLike) else dataset
        instance_of(Dataset, "dataset", self.dataset)
        self.split: Final = self.dataset.split(instance_of(str, "split", split))
        self.batch_size: Final = whole_number("batch_size", batch_size, least=1)
        self.schedule: Final = as_schedule(transform)
        if statistics is not None:
            instance_of(Statistics, "statistics", statistics)
        elif self.schedule.needs_statistics:
            if isinstance(self.dataset, Mixture):
                raise FreelightError(
                    "a mixture has no statistics; give `statistics`, such as those of one of its parts"
                )
            statistics = Statistics.load(self.dataset)
        self.statistics: Final = statistics
        self.seed: Final = whole_number("seed", seed)
        self.order: Final[Order] = order
        self.window: Final = check_window(order, window)
        self.device: Final = resolve_device(device)
        self.prefetch: Final = whole_number("prefetch", prefetch, most=MOST_PREFETCH)
        self.layout: Final[Layout] = layout
        self.decoding: Final = instance_of(Decoding, "decoding", decoding)
        self.group: Final = check_group(group)
        transforms = [part for _, part in self.schedule.parts]
        if group is not None and any(isinstance(part, Views) for part in transforms):
            raise FreelightError("a `group` exchanges one tensor of images, not Views; omit one of the two")
        self.check_exchange: Final = instance_of(bool, "check_exchange", check_exchange)
        self.last: Final[Last] = last or "short"
        self.steps_per_epoch: Final = (
            None if steps_per_epoch is None else whole_number("steps_per_epoch", steps_per_epoch, least=1)
        )
        self.subset: Final = subset
        self.weights: Final = weights
        self.balanced: Final = instance_of(bool, "balanced", balanced)
        self.num_samples: Final = num_samples
        plan = choose_plan(
            self.dataset, self.split, subset=subset, weights=weights, balanced=balanced, num_samples=num_samples
        )
        views = max(count for part in transforms for _, count in parts_of(part))
        self.repeats: Final = whole_number("repeats", repeats, least=1, most=2**31 // (len(plan) * views))
        self.extras: Final = check_extras(extras)
        self.mix: Final = None if mix is None else instance_of(Mix, "mix", mix)
        self.wait_seconds = 0.0
        self.global_size = 0
        self._given_last = last
        self._given_ranks = (rank, world_size)
        self._given_threads = num_threads
        self._ranks = known_ranks(rank, world_size)
        self._are_ranks_settled = False
        self._window = None if self.window is None else window_shards(self.window, len(self.split.info.shards))
        self._permutations = Permutations(
            self.split,
            plan,
            seed=self.seed,
            order=order,
            window=self._window,
            statistics=statistics,
            repeats=self.repeats,
        )
        self._plan = self._make_plan()
        classes = len(self.dataset.manifest.classes)
        self._reader = SampleReader(self.split, on_error=on_error, max_skipped=max_skipped)
        self._batches = BatchMaker(self._reader, self.extras, self.device, transforms, mix=self.mix, classes=classes)
        self._mixer = None
        if self.mix is not None:
            self.mix.check(transforms)
            self._mixer = Mixer(self.mix, self._plan, seed=self.seed, layout=layout)
        self._cursor = Cursor()
        self._is_closed = False
        check_cache(self.split, order, self._window)
        self.schedule.check(self.split.sizes, self.statistics)
        self.decoded: Final = None if decoded is None else Path(decoded).absolute()
        self.decoded_bytes: Final = decoded_bytes
        self.decoded_check: Final[DecodedCheck] = decoded_check
        self._store = None
        if decoded is not None:
            self._store = DecodedStore(
                decoded,
                self.split,
                fingerprint=self.dataset.fingerprint,
                limit=decoded_bytes,
                checks=decoded_check,
            )
        # One reader thread for all epochs: a new one per epoch makes glibc open new arenas, which keep old JPEGs.
        self._thread = reader_thread()
        # A finished epoch leaves its decoder idle, for the next one; an unfinished one drops it.
        self._idle: Decoder | None = self._define()
        self._running: Decoder | None = None
        self._permutations.draw(0, self.transform)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to change a setting: a state saved after the change would not match the draws made before."""
        if name == "transform":
            raise AttributeError("Loader.transform is read-only; give the Loader a Schedule of transforms by epoch")
        if name in _READ_ONLY and name in vars(self):
            raise AttributeError(f"Loader.{name} is read-only; make another Loader")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """Return the number of steps in an epoch, the same on every rank."""
        return len(self._plan)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the settings and the state, not the threads and batches of an iteration."""
        if self.group is not None:
            raise FreelightError("a loader with a `group` cannot be pickled or copied; make one in each process")
        names = _READ_ONLY - {"split", "group", "last", "schedule"}
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        settings["split"], settings["transform"] = self.split.name, self.schedule
        settings["last"] = self._given_last
        settings["rank"], settings["world_size"] = self._given_ranks
        settings["num_threads"] = self._given_threads
        settings["on_error"], settings["max_skipped"] = self._reader.on_error, self._reader.max_skipped
        return _restore, (settings, self.skipped, self._cursor)

    def close(self) -> None:
        """End the iteration, if any, and free the pipeline. The loader cannot be used again."""
        self._stop()
        self._thread.shutdown()
        if self._idle is not None:
            self._idle.stop()
            self._idle = None
        if self._store is not None:
            self._store.close()
        self._is_closed = True

    @property
    def rank(self) -> int:
        """This process's place among the ranks, 0..world_size-1."""
        return self._ranks.rank

    @property
    def world_size(self) -> int:
        """Number of ranks that share every batch."""
        return self._ranks.world_size

    @property
    def num_threads(self) -> int:
        """CPU threads that decode: the given number, or what `auto` is."""
        return decoding_threads(self._given_threads, local_processes(self._ranks))

    @property
    def sampler(self) -> EpochSampler:
        """The order of samples, with `set_epoch`, for frameworks that look for it."""
        return EpochSampler(self._plan.samples, self.set_epoch)

    @property
    def transform(self) -> Transform | Views:
        """What is done to each image in the epoch `epoch`."""
        return self.schedule.at(self.epoch)

    @property
    def bytes_read(self) -> int:
        """Number of bytes of JPEGs that this rank has read."""
        return self._reader.bytes_read

    @property
    def skipped(self) -> dict[int, str]:
        """The damaged samples that this rank has skipped, with the reason."""
        return self._reader.skipped

    @property
    def epoch(self) -> int:
        """The epoch of the current iteration, or of the last one."""
        return self._cursor.epoch

    @property
    def position(self) -> int:
        """Number of images of the epoch returned so far, over all ranks."""
        return self._cursor.position

    def order_of(self, permutation: int) -> Samples:
        """Return the samples of a permutation in the order in which they come: int32 (n,).

        Without `steps_per_epoch`, each epoch is the permutation of its number.
        """
        return self._permutations.order_of(permutation)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch of the next iteration, which is whole.

        After `load_state_dict`, naming the state's own epoch continues it; if it is finished, nothing is left of it.
        """
        if self._cursor.name(whole_number("epoch", epoch)):
            self._stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last batch: integers, and the dataset and settings that they belong to."""
        state: dict[str, Any] = {
            "fingerprint": self.dataset.fingerprint,
            "split": self.split.name,
            "seed": self.seed,
            "order": self.order,
            "transform": repr(self.transform),
            "epoch": self.epoch,
            "position": self.position,
        }
        if self._window is not None:
            state["window"] = self._window
        if self.repeats > 1:
            state["repeats"] = self.repeats
        if self.steps_per_epoch is not None:
            state |= {"steps_per_epoch": self.steps_per_epoch, "batch_size": self.batch_size}
        if self._permutations.plan.text:
            state["sampling"] = self._permutations.plan.text
        if self.mix is not None:
            state["mix"] = repr(self.mix)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state, made with any world size and batch size; the next iteration continues after it.

        Raises `FreelightError` if the state is for another dataset, split, seed, order, window, sampling plan,
        `steps_per_epoch` or `repeats`; and, inside an epoch, if it is for another transform or mix. A schedule may
        change for other epochs.
        """
        check_state(state, self.state_dict(), self._plan, transform=lambda epoch: repr(self.schedule.at(epoch)))
        self._stop()
        self._cursor.load(state["epoch"], state["position"])

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of an epoch, each a `Batch`, with the further fields of `extras`."""
        if self._is_closed:
            raise FreelightError("the loader is closed; make another one")
        if get_worker_info() is not None:
            raise FreelightError(
                "the loader decodes in threads of its own and would return every sample in each worker process: give "
                "the DataLoader num_workers=0"
            )
        self._stop()
        self._settle_ranks()
        self._cursor.begin(self._plan)
        while True:
            steps = self._plan.steps(self.epoch, self.position)
            try:
                for _, group in itertools.groupby(steps, attrgetter("permutation")):
                    yield from self._iterate(list(group), steps[-1])
                return
            except UndecodableError as error:  # the pipeline cannot be used after it; a new one repeats the batch
                self._reader.skip(error.sample, error)
            except DamagedPixelsError as error:  # the samples are decoded when the batch is repeated
                logging.getLogger(__name__).warning("%s; they are decoded again", error)

    def _iterate(self, steps: list[Step], last: Step) -> Iterator[Any]:
        """Yield the batches of consecutive steps of one permutation. last: the epoch's last step."""
        entries, order, choices = self._permutations.draw(steps[0].permutation, self.transform)
        self._reader.begin(entries)
        samples_of = [self._occurrences(step, order) for step in steps]
        decoder = self._running = self._take_idle()
        try:
            dealing = self._dealing()
            self._announce(samples_of)
            decoder.start(self._thread, [dealing.share(samples, self.rank) for samples in samples_of], choices)
            batches: Iterator[Any] = decoder.decode(samples_of)
            if self.group is not None:
                batches = decoder.finished(self._exchange(self.group, dealing).whole_batches(batches))
            if self._mixer is not None:
                batches = self._mixer.mixed_batches(steps, batches, dealing)
            start = time.perf_counter()
            for returned, (step, images, samples, *mixed) in enumerate(batches, 1):
                batch = self._batch(images, samples, decoder.transform, choices, *mixed)
                self.wait_seconds += time.perf_counter() - start
                self.global_size = len(step)
                self._cursor.advance(len(step))
                yield batch
                if self._running is not decoder:
                    if returned == len(steps) and steps[-1] == last:  # it had nothing left when the loader moved
                        return
                    raise FreelightError(
                        "this iteration is over: another was started, or set_epoch or load_state_dict moved the "
                        "loader; iterate again"
                    )
                start = time.perf_counter()
            decoder.end_epoch()
            self._idle, self._running = decoder, None
            self.split.close()
            self._batches.close()
        finally:
            if self._running is decoder:
                self._stop()

    def _announce(self, samples_of: Sequence[Share]) -> None:
        """Let the shards of these steps be fetched, or read ahead, but for samples whose decoded pixels are kept."""
        if self._window is None and not self.split.is_remote:  # the kernel is told of single samples later
            return
        if self._store is not None:
            samples_of = [step[~self._store.has(self._reader.samples_of(step))] for step in samples_of]
        self._reader.start(samples_of, window=self._window, processes=local_processes(self._ranks))

    def _batch(
        self, images: Any, samples: Share, transform: Transform | Views, choices: Sequence[Choices], *mixed: Any
    ) -> Any:
        return self._batches.make(images, samples, transform, choices, *mixed)

    def _dealing(self) -> Dealing:
        """Return what each rank decodes. The ranks of a group are consecutive."""
        place, size = (0, 1) if self.group is None else (self.group.rank(), self.group.size())
        held = range(self.rank - place, self.rank - place + size)
        return Dealing(held, self.world_size, mixes=self.mix is not None and self.mix.blends)

    def _exchange(self, group: dist.ProcessGroup, dealing: Dealing) -> Exchange:
        may_skip = self._reader.on_error == "skip"
        return Exchange(group, dealing=dealing, may_skip=may_skip, check=self.check_exchange)

    def _occurrences(self, step: Step, order: Share) -> Share:
        """Return the occurrences of a global batch, of a permutation in this order."""
        return repeated(order[step.first // self.repeats : step.stop // self.repeats], self.repeats, len(order))

    def _make_plan(self) -> EpochPlan:
        return EpochPlan(
            samples=len(self._permutations.plan),
            batch_size=self.batch_size,
            world_size=self.world_size,
            last=self.last,
            steps_per_epoch=self.steps_per_epoch,
            repeats=self.repeats,
        )

    def _settle_ranks(self) -> None:
        """Take the ranks of the process group, for good; say what the last batch will be unless `last` was given."""
        if self._are_ranks_settled:
            return
        check_launched(*self._given_ranks)
        ranks = known_ranks(*self._given_ranks)
        if ranks != self._ranks:
            self._ranks = ranks
            self._plan = self._make_plan()
            self._idle = None
        self._are_ranks_settled = True
        if self._given_last is None and self._given_ranks == (None, None):
            warn_of_shares({step.size for step in self._plan.steps(0)}, self._ranks)

    def _stop(self) -> None:
        """End the running iteration, if any. Batches decoded ahead are dropped with its pipeline."""
        # At the interpreter's end the threads have ended, and their modules are partly gone.
        if self._running is not None and not sys.is_finalizing():
            decoder, self._running = self._running, None
            thread, self._thread = self._thread, reader_thread()
            try:
                thread.shutdown(cancel_futures=True)
            finally:  # also when Ctrl-C ends the wait for a slow read
                decoder.stop()
                self.split.close()
                self._batches.close()

    def _take_idle(self) -> Decoder:
        """Return the idle decoder, or a new one if that is of another transform."""
        decoder, self._idle = self._idle, None
        if decoder is not None and decoder.transform == self.transform:
            return decoder
        if decoder is not None:
            decoder.stop()
            del decoder  # before the new one is made, so that memory holds one
        return self._define()

    def _define(self) -> Decoder:
        return Decoder(
            self.transform,
            self._reader,
            image_size=side_of(self.split.sizes),
            statistics=self.statistics,
            share_size=min(-(-self.batch_size // self.world_size) + self._dealing().mixes, self._plan.images),
            num_threads=self.num_threads,
            prefetch=self.prefetch,
            device=self.device,
            layout=self.layout,
            decoding=self.decoding,
            store=self._store,
            is_exchanged=self.group is not None,
        )


def _restore(settings: dict[str, Any], skipped: dict[int, str], cursor: Cursor) -> Loader:
    """Make a loader from what `Loader.__reduce__` kept."""
    loader = Loader(**settings)
    loader.skipped.update(skipped)
    loader._cursor = dataclasses.replace(cursor)
    return loader
