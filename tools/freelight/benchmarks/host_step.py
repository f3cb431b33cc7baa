"""The training step's host cost: processor time beside forward, loss and backward."""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from freelight.benchmarks.loading import Part
from freelight.benchmarks.report import Figure, Floor
from freelight.benchmarks.timing import Contender, Lap, interleave
from freelight.pipeline import Batch
from freelight.train import RECIPES, Mesh, Meter, TrainingConfig, TrainingState, training_step

STEP, BARE = "training step", "forward, loss and backward"
STEPS, IMAGES, CROP = 100, 2, 67
"""Steps of a lap; images of a step and their side, so small that Python and dispatch take most of the time."""


def measure_step_host(shards: Path, *, rounds: int) -> Part:
    """Measure a step of AlexNet's layers at width 0.02, on one thread of the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as out:
            settings = ["width=0.02", f"crop_size={CROP}", f"batch_size={IMAGES}"]
            recipe = RECIPES["source"].override(settings)
            config = TrainingConfig(shards=str(shards), out=Path(out), recipe=recipe, compile_=False)
            state = TrainingState(config, Mesh(), "cpu")
            costs = {STEP: StepCost(state, whole=True), BARE: StepCost(state, whole=False)}
            contenders = [Contender(name=name, lap=cost.lap) for name, cost in costs.items()]
            timings = interleave(contenders, rounds=rounds)
    finally:
        torch.set_num_threads(threads)
    step, bare = costs[STEP].median, costs[BARE].median
    return Part(
        timings=timings,
        floors=(Floor(name=f"{STEP} less {BARE}", value=step - bare, unit="ms", at_most=1.5),),
        figures=(Figure(name=STEP, value=step, unit="ms"), Figure(name=BARE, value=bare, unit="ms")),
    )


class StepCost:
    """Processor time of this thread for a step, ms. whole: with masks, norms, update and metrics, as the trainer."""

    def __init__(self, state: TrainingState, *, whole: bool) -> None:
        self._state = state
        self._meter = Meter(state.mesh, "cpu")
        self._whole = whole
        shape = (IMAGES, CROP, CROP, 3) if state.precision.layout == "NHWC" else (IMAGES, 3, CROP, CROP)
        self._batch = Batch(torch.zeros(shape), torch.zeros(IMAGES, dtype=torch.int64))
        self._laps: list[float] = []

    @property
    def median(self) -> float:
        """The median of the laps after the first, which warms up."""
        return median(self._laps[1:])

    def lap(self) -> Lap:
        """Take `STEPS` steps."""
        start, clock = time.thread_time(), time.perf_counter()
        for step in range(1, STEPS + 1):
            if self._whole:
                self._step(log=step % self._state.config.log_every == 0)
            else:
                self._bare_step()
        self._laps.append(1000 * (time.thread_time() - start) / STEPS)
        return Lap(STEPS * IMAGES, time.perf_counter() - clock)

    def _step(self, *, log: bool) -> None:
        self._meter.step_begins()
        result = training_step(self._state, self._batch, IMAGES, measure_norms=log)
        self._meter.add(self._state.step, result, IMAGES)
        if log:
            self._meter.means(0.0)
            self._meter.begin(0.0)

    def _bare_step(self) -> None:
        network = self._state.network
        logits = network(self._state.precision.inputs(self._batch.images))
        F.cross_entropy(logits, self._batch.labels).backward()  # type: ignore[no-untyped-call]
        for parameter in self._state.optimizer.parameters.values():
            parameter.grad = None
