"""What training changes, and what a checkpoint therefore saves: network, velocity, step, loader, schedule."""

from typing import Any

from ..pipeline import Loader, Schedule, Transform
from ..pipeline.decoded import Price, price_decoding
from ..shards import Dataset, FreelightError, Statistics
from .checkpoint import Checkpoint, rescaling_of
from .config import TrainingConfig
from .network.network import Network
from .optimizer import PaperSGD
from .parallel.mesh import Mesh
from .precision import Precision
from .resume import check_same_run
from .schedule import LearningRates


class TrainingState:
    """The state of a run in this process, at its place in the mesh; new, as of step 0, until `resume`.

    step: steps done. loader: of training images; its epoch and position are the run's. validates: whether the dataset
    has a split val. prices: of decoded pixels, by split. history: see `Checkpoint`. The other attributes are the
    dataset, its statistics, the network, the optimizer, the learning rates and the precision.
    """

    def __init__(self, config: TrainingConfig, mesh: Mesh, device: str, begun: Checkpoint | None = None) -> None:
        """begun: what will be resumed. If pictures were appended to the dataset since, it is opened as it was."""
        self.config = config
        self.mesh = mesh
        self.device = device
        recipe = config.recipe
        self.dataset = Dataset(
            config.shards,
            cache=config.cache,
            cache_bytes=config.cache_bytes,
            fetch_timeout=config.fetch_timeout,
            storage_options=config.storage_options,
        )
        if begun is not None and begun.fingerprint in self.dataset.parents:
            self.dataset = self.dataset.part(begun.fingerprint)
        self.validates = "val" in self.dataset.manifest.splits
        if not self.validates and recipe.schedule == "plateau":
            raise FreelightError(
                f"{config.shards} has no split 'val', by whose error the schedule 'plateau' lowers the learning rate; "
                "make the dataset again with freelight make-shards --images IMAGES --out DATASET --val-fraction 0.1, "
                "or choose a schedule by epochs, as with `settings` schedule=steps `settings` drop_epochs=60,80"
            )
        if begun is not None and self.dataset.is_part:
            self.statistics = begun.statistics
        else:
            self.statistics = Statistics.load(config.statistics or self.dataset)
        self.statistics.require_mean_image()  # part of a checkpoint
        self.precision = Precision.of(config, device)
        self.network = self.precision.place(
            Network(
                recipe.network,
                classes=len(self.dataset.manifest.classes),
                crop=recipe.crop_size,
                columns=mesh.columns,
                seed=config.seed,
                compile_=config.compile_,
            )
        )
        self.finish_gradients = mesh.sum_gradients(self.network)
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.rates = LearningRates(recipe)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.prices = self._price_decoding()
        self.loader = self.open("train", recipe.training_transforms())

    def open(self, split: str, transform: Transform | Schedule) -> Loader:
        """Return a loader of this rank's share of a split. Order and sampling plan are those of the training split."""
        config, recipe = self.config, self.config.recipe
        own: dict[str, Any] = {"order": "sequential"}
        if split == "train":
            own = {"subset": config.subset, "weights": config.weights, "balanced": config.balanced}
            own |= {"order": recipe.order, "window": recipe.window if recipe.order == "windowed" else None}
        return Loader(
            self.dataset,
            split,
            batch_size=recipe.batch_size,
            transform=transform,
            statistics=self.statistics,
            seed=self.config.seed,
            **own,
            rank=self.mesh.rank,
            world_size=self.mesh.world_size,
            group=self.mesh.exchange_group if self.mesh.columns.processes > 1 else None,
            device=self.device,
            num_threads=self.config.num_threads,
            layout=self.precision.layout,
            decoding=self.config.decoding,
            decoded=self.config.decoded,
            decoded_bytes=self.prices[split].limit if split in self.prices else None,
        )

    def _price_decoding(self) -> dict[str, Price]:
        """Return what the decoded pixels of each split take, if they are kept."""
        if self.config.decoded is None:
            return {}
        splits = ("train", "val") if self.validates else ("train",)
        prices, _ = price_decoding(self.dataset, splits, self.config.decoded, self.config.decoded_bytes)
        return {price.split: price for price in prices}

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return self.loader.epoch

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended."""
        return self.rates.finished(self.epoch)

    def checkpoint(self) -> Checkpoint:
        """Return the state as a checkpoint of the whole network (a collective over the columns of this replica)."""
        classes = self.dataset.manifest.classes
        return Checkpoint(
            recipe=self.config.recipe,
            seed=self.config.seed,
            weights=self.network.whole(dict(self.network.named_parameters())),
            velocity=self.network.whole(self.optimizer.velocity),
            class_ids=[info.id for info in classes],
            class_names=[info.name for info in classes],
            image_size=self.dataset.require_squares(),
            rescaling=rescaling_of(self.dataset.manifest.made_with, self.dataset.require_squares()),
            fingerprint=self.dataset.fingerprint,
            statistics=self.statistics,
            progress={
                "step": self.step,
                "loader": self.loader.state_dict(),
                "schedule": self.rates.state_dict(),
            },
            history=self.history,
        )

    def note_start(self) -> None:
        """Add this start of the run to its history, unless it is as the last one."""
        start = {"epochs": self.config.recipe.epochs, "command": self.config.command}
        if not self.history or self.history[-1] != {"step": self.history[-1]["step"], **start}:
            self.history = [*self.history, {"step": self.step, **start}]

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take the state of `checkpoint`. Raises `FreelightError` if it is another run's: see `check_same_run`."""
        check_same_run(
            checkpoint,
            recipe=self.config.recipe,
            seed=self.config.seed,
            dataset=self.dataset,
            statistics=self.statistics,
            sampling=self.loader.state_dict().get("sampling"),
            folder=self.config.out,
        )
        self.network.load_whole(checkpoint.weights)
        for name, whole in checkpoint.velocity.items():
            self.optimizer.velocity[name].copy_(self.network.part(name, whole))
        self.step = checkpoint.progress["step"]
        self.loader.load_state_dict(checkpoint.progress["loader"])
        done = self.epoch * len(self.loader) - (-self.loader.position // self.config.recipe.batch_size)
        if self.step != done:
            raise FreelightError(
                f"the checkpoint in {self.config.out} has done {self.step} steps, but its epoch {self.epoch} and "
                f"position {self.loader.position} make {done}; it is damaged, use another `out`"
            )
        self.rates.load_state_dict(checkpoint.progress["schedule"])
        self.history = checkpoint.history

    def layer_rates(self) -> dict[str, float]:
        """Return the learning rates of layers whose weights do not have the common one; 0 if frozen."""
        base = self.rates.base_rate(self.epoch, bias=False)
        rates = {
            name.removesuffix(".weight"): self.rates.rate(name, self.epoch) or 0.0
            for name in self.optimizer.parameters
            if name.endswith(".weight")
        }
        return {layer: rate for layer, rate in rates.items() if rate != base}
