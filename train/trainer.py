"""Training: steps, validation each epoch, and when to save."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from ..pipeline import Batch, Loader, Transform, draw_epoch
from ..pipeline.pictures import save_png
from ..shards import Dataset, FreelightError, Statistics
from .checkpoint import Checkpoint, rescaling_of
from .environment import note_environment
from .evaluator import Errors, evaluate
from .kernel_pictures import kernel_grid
from .metrics import EpochMetrics, StepMetrics
from .monitor import Monitor, norm
from .network.dropout import DropoutMasks
from .network.network import Network
from .optimizer import PaperSGD
from .parallel.columns import part_sizes
from .parallel.mesh import Mesh
from .parallel.signals import StopRequest
from .parallel.votes import StoppedError, vote
from .progress import Progress, summary
from .recipes import Recipe
from .resume import check_same_run, init_from
from .run_folder import RunFolder
from .schedule import LearningRates


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run.

    shards: dataset directory, or URL, then with a local folder for its shards, `cache` of at most `cache_bytes`.
    statistics: a file of `compute_pca` to take in place of the dataset's own. init_from: a checkpoint whose layers a
    new run begins with, where they fit. checkpoint_every, checkpoint_minutes: between checkpoints inside an epoch;
    None: at epochs' ends only. keep: so many most recent checkpoints. log_every: steps between lines of metrics.
    num_threads: that decode, in each process. compile_: fuse the normalisation with a compiler, where there is one.
    channels_last: the memory order of activations. tensorboard: write events, too.
    """

    shards: str
    out: Path
    recipe: Recipe
    cache: Path | None = None
    cache_bytes: int = 10**11
    statistics: Path | None = None
    init_from: Path | None = None
    seed: int = 0
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None
    keep: int = 2
    log_every: int = 10
    num_threads: int = 2
    compile_: bool = True
    channels_last: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("--checkpoint-every", self.checkpoint_every),
            ("--log-every", self.log_every),
            ("--keep", self.keep),
        ):
            if value is not None and value < 1:
                raise FreelightError(f"{name} (={value}) must be at least 1")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise FreelightError(f"--checkpoint-minutes (={self.checkpoint_minutes}) must be positive")
        if not 0 <= self.seed < 2**32:
            raise FreelightError(f"--seed (={self.seed}) must lie in 0..2**32 - 1")


class Trainer:
    """One process's part of a run, at its place in the `mesh`. `run` trains to the end of the schedule.

    A run that was begun in its `folder` is taken up after its last checkpoint. stop: asks to stop at the next step.
    """

    def __init__(self, config: TrainingConfig, folder: RunFolder, mesh: Mesh, device: str, stop: StopRequest) -> None:
        self.config = config
        self.folder = folder
        self.mesh = mesh
        self.device = device
        self.stop = stop
        recipe = config.recipe
        self.dataset = Dataset(config.shards, cache=config.cache, cache_bytes=config.cache_bytes)
        if "val" not in self.dataset.manifest.splits:
            raise FreelightError(
                f"{config.shards} has no split 'val', which the schedule needs; "
                "make it with a val/ folder, or with make_shards --val-fraction"
            )
        self.statistics = Statistics.load(config.statistics or self.dataset.folder)
        self.network = Network(
            recipe.network,
            classes=len(self.dataset.manifest.classes),
            crop=recipe.crop_size,
            columns=mesh.columns,
            seed=config.seed,
            compile_=config.compile_,
        ).to(device, torch.float64 if recipe.precision == "float64" else torch.float32)
        if config.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.finish_gradients = mesh.sum_gradients(self.network)
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.rates = LearningRates(recipe)
        self.step = 0
        self.training = self._loader("train", recipe.training_transform(0))
        self.validation = self._loader("val", recipe.evaluation_transform(views=1))
        self.monitor = Monitor(mesh, device)
        self._last_save = time.monotonic()
        self._begin()
        events = config.out / "tensorboard" if config.tensorboard and mesh.rank == 0 else None
        self.progress = Progress(len(self.training), events=events, step=self.step)

    def run(self) -> None:
        """Train until the schedule ends, or until asked to stop."""
        if self.mesh.rank == 0 and not self.rates.finished(self.training.epoch):
            note_environment(self.config.out)
        try:
            while not self.rates.finished(self.training.epoch):
                if self.training.position < len(self.training.split):
                    self._train_epoch()
                self._validate()
        except StoppedError:
            self._save(best=False)
            name = signal.Signals(self.stop.number or 0).name
            self._say(f"stopped by {name}; the same command goes on after step {self.step}, which is saved")
        else:
            if self.mesh.rank == 0:
                print(f"{self.folder.last}: {summary(self.folder.metrics())}", flush=True)
        self.progress.close()

    def _loader(self, split: str, transform: Transform) -> Loader:
        return Loader(
            self.dataset,
            split,
            batch_size=self.config.recipe.batch_size,
            transform=transform,
            statistics=self.statistics,
            seed=self.config.seed,
            order=self.config.recipe.order if split == "train" else "sequential",
            rank=self.mesh.rank,
            world_size=self.mesh.world_size,
            group=self.mesh.exchange_group if self.mesh.columns.processes > 1 else None,
            device=self.device,
            num_threads=self.config.num_threads,
        )

    def _train_epoch(self) -> None:
        self.monitor.begin(self.training.wait_seconds)
        position = self.training.position
        for batch in self.training:
            images, position = self.training.position - position, self.training.position
            last = position == len(self.training.split)
            log = last or (self.step + 1) % self.config.log_every == 0
            self.monitor.step_begins()
            norms = self._train_step(batch, images, measure=log)
            if log:
                self._log(norms)
            if self._agree_to_save():
                self._save(best=False)

    def _train_step(self, batch: Batch, images: int, *, measure: bool) -> dict[str, float]:
        """Take one step on this replica's share of `images` images; return norms if they are to be measured."""
        # A replica whose share is empty computes on a blank image that does not count, since the others wait for it.
        blank = len(batch.labels) == 0
        # Dropout's masks are those of the whole batch, of which this replica has its rows.
        shares = part_sizes(images, self.mesh.world_size)
        first = 0 if blank else sum(shares[: self.mesh.replica * self.mesh.columns.processes])
        masks = DropoutMasks(self.config.seed, self.step, batch=images, first=first)
        inputs = self._inputs(batch.images.new_zeros((1, *batch.images.shape[1:])) if blank else batch.images)
        labels = batch.labels.new_zeros(1) if blank else batch.labels
        with self._autocast():
            logits = self.network(inputs, masks)
        loss = F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels, reduction="sum")
        loss = loss * 0 if blank else loss
        (loss / images).backward()  # type: ignore[no-untyped-call]
        self.finish_gradients()
        wrong = (logits.detach().argmax(dim=1) != labels).sum() * (not blank)
        norms = {}
        if measure:
            gradients = (parameter.grad for parameter in self.network.parameters() if parameter.grad is not None)
            norms["gradient_norm"] = norm(gradients, self.mesh)
        epoch = self.training.epoch
        self.optimizer.step(lambda name: self.rates.rate(name, epoch))
        self.step += 1
        self.monitor.add(self.step, loss.detach(), wrong, images)
        if measure:
            norms["weight_norm"] = norm(self.network.parameters(), self.mesh)
        return norms

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        if self.config.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images.double() if self.config.recipe.precision == "float64" else images

    def _autocast(self) -> torch.autocast:
        enabled = self.config.recipe.precision == "bfloat16"
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=enabled)

    def _validate(self) -> None:
        """Measure the validation errors, and with them end the epoch. What was trained is saved before, and after."""
        if self._saved_step != self.step:
            self._save(best=False)
        with self._autocast():
            own = evaluate(self.network, self._until_stopped(self.validation))
        counts = self.mesh.sum_over_replicas([own.images, own.wrong_top1, own.wrong_top5])
        errors = Errors(*map(round, counts))
        best = self.rates.update(errors.top1)
        self._write(EpochMetrics(step=self.step, epoch=self.training.epoch, val_top1=errors.top1, val_top5=errors.top5))
        kernels = self.network.whole({"conv1.weight": self.network.get_parameter("conv1.weight")})["conv1.weight"]
        if self.mesh.rank == 0:
            sheet = kernel_grid(kernels, columns=self.network.config.columns)
            save_png(sheet, self.config.out / "kernels.png")
            self.progress.kernels(sheet, self.step)
        self._begin_epoch(self.training.epoch + 1)
        self._save(best=best)

    def _until_stopped(self, batches: Loader) -> Iterator[Batch]:
        batches.set_epoch(self.training.epoch)
        for batch in batches:
            vote(self.mesh, self.stop)
            yield batch._replace(images=self._inputs(batch.images))

    def _begin_epoch(self, epoch: int) -> None:
        self.training.set_epoch(epoch)
        transform = self.config.recipe.training_transform(epoch)
        if transform != self.training.transform:
            self.training.transform = transform

    def _agree_to_save(self) -> bool:
        """Tell whether a checkpoint is due, on every process alike."""
        every, minutes = self.config.checkpoint_every, self.config.checkpoint_minutes
        due = every is not None and self.step % every == 0
        due = due or (minutes is not None and time.monotonic() - self._last_save > 60 * minutes)
        return vote(self.mesh, self.stop, save=due)

    def _log(self, norms: dict[str, float]) -> None:
        means = self.monitor.means(self.training.wait_seconds)
        self._raise_if_diverged()
        epoch = self.training.epoch
        self._write(
            StepMetrics(
                step=self.step,
                epoch=epoch,
                position=self.training.position,
                learning_rate=self.rates.base_rate(epoch, bias=False),
                bias_learning_rate=self.rates.base_rate(epoch, bias=True),
                layer_rates=self._layer_rates(epoch),
                **means._asdict(),
                **norms,
            )
        )
        self.monitor.begin(self.training.wait_seconds)

    def _layer_rates(self, epoch: int) -> dict[str, float]:
        """Return the rates of the layers that have their own; 0 if frozen."""
        rates = {name: self.rates.rate(name, epoch) or 0.0 for name in self.optimizer.parameters}
        base = self.rates.base_rate(epoch, bias=False)
        return {
            name.removesuffix(".weight"): rate
            for name, rate in rates.items()
            if name.endswith(".weight") and rate != base
        }

    def _raise_if_diverged(self) -> None:
        """Raise `FreelightError` if a loss was not finite: at which step, on which samples, and what is left."""
        step = self.monitor.first_bad_step()
        if step is None:
            return
        epoch, place = divmod(step - 1, len(self.training))
        batch_size, split = self.config.recipe.batch_size, self.training.split
        order = draw_epoch(len(split), seed=self.config.seed, epoch=epoch, order=self.config.recipe.order).order
        samples = order[place * batch_size : (place + 1) * batch_size].tolist()
        keys = ", ".join(split.key(sample) for sample in samples[:8])
        more = ", ..." if len(samples) > 8 else ""
        raise self._diverged(
            f"the loss of step {step} is not finite (epoch {epoch}, samples of {split.name} {keys}{more})"
        )

    def _diverged(self, what: str) -> FreelightError:
        saved = f"{self.folder.last} is of before" if self.folder.last.exists() else "nothing was saved before"
        return FreelightError(
            f"{what}; {saved}, nothing of after it is saved; try a smaller learning_rate (--set, with another --out)"
        )

    def _write(self, line: StepMetrics | EpochMetrics) -> None:
        if self.mesh.rank == 0:
            self.folder.write(line)
            self.progress.line(line)

    def _say(self, text: str) -> None:
        if self.mesh.rank == 0:
            print(text, flush=True)

    def _save(self, *, best: bool) -> None:
        """Save the run as it is: every column of the first replica takes part, its first one writes."""
        self._raise_if_diverged()
        if not math.isfinite(norm(self.network.parameters(), self.mesh)):
            raise self._diverged(f"after step {self.step} the weights are not finite")
        self.monitor.interrupt()
        self._last_save, self._saved_step = time.monotonic(), self.step
        if self.mesh.replica == 0:
            checkpoint = self._checkpoint()
            if self.mesh.rank == 0:
                self.folder.save(checkpoint, best=best)
                self.progress.flush()

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            recipe=self.config.recipe,
            seed=self.config.seed,
            weights=self.network.whole(dict(self.network.named_parameters())),
            velocity=self.network.whole(self.optimizer.velocity),
            class_ids=[info.id for info in self.dataset.manifest.classes],
            class_names=[info.name for info in self.dataset.manifest.classes],
            image_size=self.dataset.image_size,
            rescaling=rescaling_of(self.dataset.manifest.made_with, self.dataset.image_size),
            fingerprint=self.dataset.fingerprint,
            statistics=self.statistics,
            progress={
                "step": self.step,
                "loader": self.training.state_dict(),
                "schedule": self.rates.state_dict(),
            },
        )

    def _begin(self) -> None:
        """Take up the run in `config.out`, if there is one; else begin one, from another's layers if so asked."""
        checkpoint = self.folder.load()
        if checkpoint is not None:
            self._take_up(checkpoint)
            if not self.rates.finished(self.training.epoch):
                again = "" if self.config.init_from is None else "; --init-from was for its beginning"
                self._say(f"{self.config.out} goes on after step {self.step}{again}")
        elif self.config.init_from is not None:
            copied = init_from(Checkpoint.load(self.config.init_from), self.network, self.dataset)
            self._say(f"{self.config.init_from}: {copied}")
        self._saved_step = self.step
        if not self.mesh.is_same_on_all_ranks(self.step):
            raise FreelightError(
                f"--out {self.config.out} must be one folder that all machines see: on one it has another step"
            )
        if self.mesh.rank == 0:
            self.folder.forget_after(self.step)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        check_same_run(
            checkpoint,
            recipe=self.config.recipe,
            seed=self.config.seed,
            dataset=self.dataset,
            statistics=self.statistics,
            folder=self.config.out,
        )
        self.network.load_whole(checkpoint.weights)
        for name, whole in checkpoint.velocity.items():
            self.optimizer.velocity[name].copy_(self.network.part(name, whole))
        self.step = checkpoint.progress["step"]
        self._begin_epoch(checkpoint.progress["loader"]["epoch"])
        self.training.load_state_dict(checkpoint.progress["loader"])
        self.rates.load_state_dict(checkpoint.progress["schedule"])


def train(config: TrainingConfig, mesh: Mesh, device: str, stop: StopRequest) -> None:
    """Train, or take up, the run of `config` in this process, at its place in the mesh."""
    folder = RunFolder(config.out, keep=config.keep)
    try:
        with nullcontext() if mesh.rank else folder.held():
            mesh.wait_for_all()  # no rank reads the folder before rank 0 has locked it
            Trainer(config, folder, mesh, device, stop).run()
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(error) from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _out_of_memory(error) from None


def _out_of_memory(error: Exception) -> FreelightError:
    reason = str(error).strip().splitlines()[0]
    return FreelightError(
        f"out of memory ({reason}); take a smaller batch (--set batch_size=64, and the learning rate with it), "
        "two processes (--columns 2) or more replicas, or a narrower network (--width)"
    )
