"""The training loop: epochs of steps, validation after each, and when to save."""

import signal
import time
from collections.abc import Iterator

import torch

from ..pipeline import Batch, Loader
from ..pipeline.pictures import save_png
from ..shards import FreelightError
from .checkpoint import Checkpoint
from .config import TrainingConfig
from .divergence import check_losses, check_weights
from .environment import describe_threads, note_environment
from .evaluator import Errors, evaluate, has_top5
from .kernel_pictures import labelled_kernel_grids
from .metrics import EpochMetrics, StepMetrics
from .network.normalization import Normalization
from .parallel.mesh import Mesh
from .parallel.signals import StopRequest
from .parallel.votes import Ballot, StoppedError
from .progress import Progress, summary, tell
from .resume import init_from
from .run_folder import RunFolder
from .state import TrainingState
from .step import training_step
from .throughput import Meter


class Trainer:
    """One process's part of a run, at its place in the mesh. `run` trains to the end of the schedule.

    If `folder` holds a stopped run, it is resumed. stop: if it holds a signal, the run stops after the current step; in
    several processes, after the next one (see `Ballot`).
    """

    def __init__(self, config: TrainingConfig, folder: RunFolder, mesh: Mesh, device: str, stop: StopRequest) -> None:
        self.config = config
        self.folder = folder
        self.mesh = mesh
        self.stop = stop
        self.ballot = Ballot(mesh, stop)
        begun = folder.load()
        self.state = TrainingState(config, mesh, device, begun)
        self.validation = (
            self.state.open("val", config.recipe.evaluation_transform(views=1)) if self.state.validates else None
        )
        self.meter = Meter(mesh, device)
        self._last_save = time.monotonic()
        self._start(begun)
        self._saved_step = self.state.step
        events = config.out / "tensorboard" if config.tensorboard and mesh.rank == 0 else None
        self.progress = Progress(
            len(self.state.loader),
            config.recipe.epochs,
            with_top5=has_top5(len(self.state.dataset.manifest.classes)),
            lines=config.lines,
            events=events,
            step=self.state.step,
        )

    def run(self) -> None:
        """Train until the schedule ends, or until a signal asks to stop; the run is then saved as it is."""
        if self.mesh.rank == 0 and not self.state.finished:
            threads = describe_threads(self.state.loader.num_threads, self.mesh.world_size)
            self._print(f"threads: {threads}")
            for price in self.state.prices.values():
                self._print(f"{self.config.decoded}: {price}")
            note_environment(self.config.out, threads=threads)
        if not self.state.finished:
            self._compile()
        try:
            while not self.state.finished:
                if self.state.loader.position < len(self.state.loader.sampler):
                    self._train_epoch()
                self._end_epoch()
        except StoppedError:
            self._save(best=False)
            name = signal.Signals(self.stop.number or 0).name
            self._print(f"stopped by {name} after step {self.state.step}, which is saved; run the same again to resume")
        else:
            if self.mesh.rank == 0:
                tell(f"{self.folder.last}: {summary(self.folder.metrics())}", self.config.lines)
        self.progress.close()

    def _compile(self) -> None:
        """Compile the normalisation before the first step, so that nobody waits unaware and no speed includes it.

        Two blank images pass through the network forward, which compiles what its layers need for any number.
        """
        network, crop = self.state.network, self.config.recipe.crop_size
        if self.config.compile_ and any(isinstance(module, Normalization) for module in network.modules()):
            self._print("compiling the normalisation, about 8 s ...")
            shape = (2, crop, crop, 3) if self.state.precision.layout == "NHWC" else (2, 3, crop, crop)
            network.eval()
            with self.state.precision.autocast():
                network(self.state.precision.inputs(torch.zeros(shape, device=self.state.device)))
            network.train()

    def _start(self, checkpoint: Checkpoint | None) -> None:
        """Resume the run in the folder; without one, start a new run, from another run's layers if so asked."""
        if self.state.precision.remark is not None:
            self._print(self.state.precision.remark)
        if checkpoint is not None:
            self.state.resume(checkpoint)
            if self.state.dataset.is_part:
                self._print(
                    f"{self.config.shards} has pictures that were appended since this run began; it goes on with the "
                    f"{len(self.state.loader.split)} training images of then"
                )
            then, now = checkpoint.recipe.epochs, self.config.recipe.epochs
            raised = f"; epochs raised from {then} to {now}" if now > then else ""
            if not self.state.finished:
                ignored = "" if self.config.init_from is None else f"; {self.config.init_from} is not used again"
                self._print(f"resuming {self.config.out} after step {self.state.step}{raised}{ignored}")
            elif raised:
                self._print(f"{self.config.out} ended at a plateau of the validation error, not at epoch {then}")
        elif self.config.init_from is not None:
            copied = init_from(Checkpoint.load(self.config.init_from), self.state.network, self.state.dataset)
            self._print(f"{self.config.init_from}: {copied}")
        if not self.mesh.is_same_on_all_ranks(self.state.step):
            raise FreelightError(
                f"`out` (={self.config.out}) must be one folder that all machines share; they found different steps"
            )
        if self.mesh.rank == 0:
            damaged = self.folder.drop_after(self.state.step, self.state.epoch)
            if damaged is not None:
                self._print(damaged)
        if not self.state.finished:
            self.state.note_start()
            self._warn()

    def _warn(self) -> None:
        """Say what may surprise: no validation, and batches that leave few steps in an epoch."""
        images, batch = len(self.state.loader.sampler), self.config.recipe.batch_size
        if not self.state.validates:
            self._print(f"{self.config.shards} has no split 'val': no validation errors, and no best.pt")
        if 8 * batch > images:
            self._print(
                f"warning: a batch of {batch} is more than an eighth of the {images} training images, so an epoch has "
                f"few steps ({len(self.state.loader)}) to learn in; --batch-size {max(1, images // 8)} gives at least 8"
            )

    def _train_epoch(self) -> None:
        loader = self.state.loader
        self.meter.begin(loader.wait_seconds)
        position = loader.position
        for batch in loader:
            images, position = loader.position - position, loader.position
            last = position == len(loader.sampler)
            log = last or (self.state.step + 1) % self.config.log_every == 0
            self.ballot.cast(save=self._is_save_due())
            self.meter.step_begins()
            result = training_step(self.state, batch, images, measure_norms=log)
            self.meter.add(self.state.step, result, images)
            if log:
                self._log()
            if self.ballot.count():
                self._save(best=False)

    def _is_save_due(self) -> bool:
        """Tell whether to save after the step that begins."""
        every, minutes = self.config.checkpoint_every, self.config.checkpoint_minutes
        due = every is not None and (self.state.step + 1) % every == 0
        return due or (minutes is not None and time.monotonic() - self._last_save > 60 * minutes)

    def _log(self) -> None:
        state, wait_seconds = self.state, self.state.loader.wait_seconds
        means = self.meter.means(wait_seconds)
        check_losses(self.meter, state, self.folder.last)
        self._write(
            StepMetrics(
                step=state.step,
                epoch=state.epoch,
                position=state.loader.position,
                learning_rate=state.rates.base_rate(state.epoch, bias=False),
                bias_learning_rate=state.rates.base_rate(state.epoch, bias=True),
                layer_rates=state.layer_rates(),
                **means._asdict(),
            )
        )
        self.meter.begin(wait_seconds)

    def _end_epoch(self) -> None:
        """Measure the validation errors, if there is a split val, and end the epoch."""
        best = False
        if self.validation is not None:
            best = self._validate(self.validation)
        elif self.mesh.rank == 0:
            self.progress.end_epoch()
        self._draw_kernels()
        self.state.loader.set_epoch(self.state.epoch + 1)
        self._save(best=best)

    def _validate(self, validation: Loader) -> bool:
        """Return whether the validation error is the lowest so far. The epoch's steps are saved before it."""
        state = self.state
        if self._saved_step != state.step:
            self._save(best=False)
        with state.precision.autocast():
            own = evaluate(state.network, self._validation_batches(validation))
        counts = self.mesh.sum_over_replicas([own.images, own.wrong_top1, own.wrong_top5])
        errors = Errors(*map(round, counts))
        best = state.rates.update(errors.top1)
        self._write(EpochMetrics(step=state.step, epoch=state.epoch, val_top1=errors.top1, val_top5=errors.top5))
        return best

    def _validation_batches(self, validation: Loader) -> Iterator[Batch]:
        validation.set_epoch(self.state.epoch)
        for batch in validation:
            self.ballot.cast()
            yield batch._replace(images=self.state.precision.inputs(batch.images))
            self.ballot.count()
            if self.mesh.rank == 0:
                self.progress.validation(validation.position, len(validation.split))

    def _draw_kernels(self) -> None:
        network = self.state.network
        kernels = network.whole({"conv1.weight": network.get_parameter("conv1.weight")})["conv1.weight"]
        if self.mesh.rank == 0:
            grid = labelled_kernel_grids(kernels, columns=network.config.columns)
            save_png(grid, self.config.out / "kernels.png")
            self.progress.kernels(grid, self.state.step)

    def _save(self, *, best: bool) -> None:
        """Save the run as it is: all columns of the first replica take part, and rank 0 writes."""
        check_losses(self.meter, self.state, self.folder.last)
        check_weights(self.state, self.folder.last)
        self.meter.interrupt()
        self._last_save, self._saved_step = time.monotonic(), self.state.step
        if self.mesh.replica == 0:
            checkpoint = self.state.checkpoint()
            if self.mesh.rank == 0:
                self.folder.save(checkpoint, best=best)
                self.progress.flush()

    def _write(self, line: StepMetrics | EpochMetrics) -> None:
        if self.mesh.rank == 0:
            self.folder.write(line)
            self.progress.line(line)

    def _print(self, text: str) -> None:
        if self.mesh.rank == 0:
            tell(text, self.config.lines)
