"""Training: steps, validation each epoch, checkpoints, and the metrics of a run."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..pipeline import Batch, Loader
from ..shards import Dataset, FreelightError, Statistics
from ..shards.atomic import atomic_write
from .checkpoint import LAST, Checkpoint
from .columns import Columns
from .dropout import DropoutMasks
from .evaluation import Errors, evaluate
from .network import AlexNet, NetworkConfig
from .optimizer import PaperSGD
from .progress import Progress
from .recipe import Recipe
from .schedule import Plateau

METRICS = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run. checkpoint_every: steps between checkpoints inside an epoch; None: at epochs' ends only.

    statistics: a file of `compute_pca` to take in place of the dataset's own. log_every: steps between lines of
    metrics. num_threads: that decode, in each process.
    """

    shards: Path
    out: Path
    recipe: Recipe
    statistics: Path | None = None
    width: float = 1.0
    seed: int = 0
    checkpoint_every: int | None = None
    log_every: int = 10
    num_threads: int = 2

    def __post_init__(self) -> None:
        for name, value in (("--checkpoint-every", self.checkpoint_every), ("--log-every", self.log_every)):
            if value is not None and value < 1:
                raise FreelightError(f"{name} (={value}) must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise FreelightError(f"--seed (={self.seed}) must lie in 0..2**32 - 1")


@dataclass
class Interval:
    """What was measured since the last line of metrics. loss: the sum over steps, left on the device."""

    loss: torch.Tensor
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Return the mean loss, images/s with and without the wait for data, and the wait's share of the time."""
        return {
            "loss": float(self.loss) / self.steps,
            "images_per_second": self.images / self.seconds,
            "images_per_second_without_wait": self.images / (self.seconds - self.wait_seconds),
            "wait_share": self.wait_seconds / self.seconds,
        }


class Trainer:
    """One process's part of a run: it holds `columns` of the network. `run` trains to the end of the schedule.

    A run that was begun in `config.out` is taken up after its last checkpoint.
    """

    def __init__(self, config: TrainingConfig, columns: Columns, device: str) -> None:
        self.config = config
        self.columns = columns
        self.device = device
        recipe = config.recipe
        self.dataset = Dataset(config.shards)
        if "val" not in self.dataset.manifest.splits:
            raise FreelightError(
                f"{config.shards} has no split 'val', which the schedule needs; "
                "make it with a val/ folder, or with make_shards --val-fraction"
            )
        self.statistics = Statistics.load(config.statistics or config.shards)
        self.network = AlexNet(
            NetworkConfig(classes=len(self.dataset.manifest.classes), width=config.width, dropout=recipe.dropout),
            columns,
            seed=config.seed,
        ).to(device)
        self.optimizer = PaperSGD(
            self.network.named_parameters(), momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.schedule = Plateau(recipe)
        self.step = 0
        self.training = self._loader("train", recipe.training_transform)
        self.validation = self._loader("val", recipe.evaluation_transform(views=1))
        self.progress = Progress(len(self.training))
        self._resume()

    def run(self) -> Errors | None:
        """Train until the schedule ends; return the last validation errors (None if nothing was left to do)."""
        errors = None
        while not self.schedule.finished and self.training.epoch < self.config.recipe.epochs:
            self._train_epoch()
            errors = evaluate(self.network, self.validation)
            self._write(
                {"step": self.step, "epoch": self.training.epoch, "val_top1": errors.top1, "val_top5": errors.top5}
            )
            self.schedule.update(errors.top1)
            self.training.set_epoch(self.training.epoch + 1)
            self._save()
        return errors

    def _loader(self, split: str, transform: Any) -> Loader:
        return Loader(
            self.dataset,
            split,
            batch_size=self.config.recipe.batch_size,
            transform=transform,
            statistics=self.statistics,
            seed=self.config.seed,
            order="global" if split == "train" else "sequential",
            rank=self.columns.rank,
            world_size=self.columns.processes,
            group=self.columns.group,
            device=self.device,
            num_threads=self.config.num_threads,
        )

    def _train_epoch(self) -> None:
        interval = self._new_interval()
        start, waited = time.perf_counter(), self.training.wait_seconds
        for batch in self.training:
            interval.loss += self._train_step(batch)
            interval.steps += 1
            interval.images += len(batch.labels)
            last = self.training.position == len(self.training.split)
            if last or self.step % self.config.log_every == 0:
                interval.seconds = time.perf_counter() - start
                interval.wait_seconds = self.training.wait_seconds - waited
                self._log(interval)
                interval = self._new_interval()
                start, waited = time.perf_counter(), self.training.wait_seconds
            # At the epoch's end the checkpoint follows the validation, which the schedule needs.
            if not last and self.config.checkpoint_every and self.step % self.config.checkpoint_every == 0:
                self._save()

    def _train_step(self, batch: Batch) -> torch.Tensor:
        """Take one step; return the mean loss over the global batch, on the device."""
        masks = DropoutMasks(self.config.seed, self.step)
        logits = self.network(batch.images, masks)
        loss = F.cross_entropy(logits, batch.labels, reduction="sum") / len(batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(self.schedule.learning_rate)
        self.step += 1
        return loss.detach()

    def _new_interval(self) -> Interval:
        return Interval(loss=torch.zeros((), device=self.device))

    def _log(self, interval: Interval) -> None:
        measured = interval.metrics()
        if not torch.isfinite(interval.loss):
            raise self._diverged(f"the loss is {float(interval.loss)}")
        progress = {"step": self.step, "epoch": self.training.epoch, "position": self.training.position}
        self._write({**progress, "learning_rate": self.schedule.learning_rate, **measured})

    def _diverged(self, what: str) -> FreelightError:
        return FreelightError(
            f"{what} at step {self.step} or shortly before, and nothing of that is saved; "
            "try a smaller learning_rate (--set, with another --out)"
        )

    def _write(self, line: dict[str, Any]) -> None:
        if self.columns.rank == 0:
            with open(self.config.out / METRICS, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.progress(line)

    def _save(self) -> None:
        """Write `last.pt`: every column takes part, column 0 writes."""
        weights = self.network.whole(dict(self.network.named_parameters()))
        velocity = self.network.whole(self.optimizer.velocity)
        if not all(torch.isfinite(weight).all() for weight in weights.values()):
            raise self._diverged("weights are not finite")
        if self.columns.rank != 0:
            return
        Checkpoint(
            network=self.network.config,
            recipe=self.config.recipe,
            seed=self.config.seed,
            weights=weights,
            velocity=velocity,
            class_ids=[info.id for info in self.dataset.manifest.classes],
            class_names=[info.name for info in self.dataset.manifest.classes],
            image_size=self.dataset.image_size,
            fingerprint=self.dataset.fingerprint,
            statistics=self.statistics,
            progress={
                "step": self.step,
                "loader": self.training.state_dict(),
                "schedule": self.schedule.state_dict(),
            },
        ).save(self.config.out / LAST)

    def _resume(self) -> None:
        """Take up the run in `config.out`, if there is one: the same settings and data, or an error."""
        path = self.config.out / LAST
        if path.exists():
            self._load(Checkpoint.load(path))
        if self.columns.rank == 0:
            self._forget_metrics_after(self.step)

    def _load(self, checkpoint: Checkpoint) -> None:
        begun = _settings(checkpoint.recipe, checkpoint.network, checkpoint.seed, checkpoint.fingerprint)
        now = _settings(self.config.recipe, self.network.config, self.config.seed, self.dataset.fingerprint)
        changed = [f"{name}: {begun[name]!r} then, {now[name]!r} now" for name in now if begun[name] != now[name]]
        if changed:
            raise FreelightError(
                f"{self.config.out} holds a run with other settings ({'; '.join(changed)}); "
                "give the same to go on with it, or another --out"
            )
        if not _same(checkpoint.statistics, self.statistics):
            raise FreelightError(
                f"{self.config.out} holds a run with other statistics than {self.config.shards} has now; "
                "put the old ones back, or give another --out"
            )
        self.network.load_whole(checkpoint.weights)
        for name, whole in checkpoint.velocity.items():
            self.optimizer.velocity[name].copy_(self.network.part(name, whole))
        self.step = checkpoint.progress["step"]
        self.training.load_state_dict(checkpoint.progress["loader"])
        self.schedule.load_state_dict(checkpoint.progress["schedule"])

    def _forget_metrics_after(self, step: int) -> None:
        """Drop the metrics of steps that will be taken again."""
        path = self.config.out / METRICS
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())


def _settings(recipe: Recipe, network: NetworkConfig, seed: int, fingerprint: str) -> dict[str, Any]:
    """Return what must stay as it is for a run to be taken up."""
    return {**dataclasses.asdict(recipe), **dataclasses.asdict(network), "seed": seed, "dataset": fingerprint[:12]}


def _same(one: Statistics, other: Statistics) -> bool:
    names = [field.name for field in dataclasses.fields(Statistics)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def train(config: TrainingConfig, columns: Columns, device: str) -> None:
    """Train, or take up, the run of `config` in this process, which holds `columns`; column 0 reports the end."""
    trainer = Trainer(config, columns, device)
    trainer.run()
    if columns.rank == 0:
        print(f"{config.out / LAST}: {trainer.step} steps, {trainer.training.epoch} epochs", flush=True)
