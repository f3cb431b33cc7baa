"""Extract features, and predict a split, on any number of processes, for the commands that then show them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...shards import Dataset
from ..checkpoint import Checkpoint
from ..evaluation.passes import predict_split
from ..evaluation.processes import Processes
from ..evaluation.rounds import Watch, no_watch
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from ..parallel.votes import StoppedError
from .features import Space, extract_features

REMEDY = "run the same command again; extracted features are kept"


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """What the processes do. checkpoint: file of the network. folder: of the features.

    features: of which splits, in which spaces. ten_views: file in which to save the ten-view predictions of `val`, as
    `ProbabilityPass`; None makes none. batch_size: as of `predict_split`. watch: as of `extract_features`; it can be
    pickled.
    """

    checkpoint: Path
    dataset: Dataset
    folder: Path
    features: Sequence[tuple[str, Space]]
    ten_views: Path | None = None
    batch_size: int = 64
    watch: Watch = no_watch

    def run(self, processes: Processes) -> bool:
        """Extract what is missing; return whether this process is to report, see `Processes.run`."""
        return processes.run(functools.partial(_extract, self, processes), remedy=REMEDY)


def _extract(extraction: Extraction, processes: Processes, mesh: Mesh, device: str, stop: StopRequest) -> None:
    trained, dataset = Checkpoint.load(extraction.checkpoint), extraction.dataset
    where: Any = {"mesh": mesh, "device": device, "stop": stop}
    where |= {"batch_size": extraction.batch_size, "num_threads": processes.num_threads}
    where["compile_"] = processes.compile_
    try:
        if extraction.ten_views is not None:
            predicted = predict_split(trained, dataset, "val", views=10, watch=extraction.watch, **where)
            if predicted is not None:
                predicted.save(extraction.ten_views)
        for split, space in extraction.features:
            extract_features(trained, dataset, split, extraction.folder, space=space, watch=extraction.watch, **where)
    except StoppedError:
        return
