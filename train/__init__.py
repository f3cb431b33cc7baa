"""AlexNet as its authors trained it: the network in two columns, the update rule, checkpoints and evaluation."""

from .checkpoint import Checkpoint, load_network
from .config import TrainingConfig
from .describe import layer_sizes
from .evaluation import Predictions, predict_files, predict_split
from .evaluator import Errors, evaluate, predict
from .fit import FitResult, fit
from .metrics import EpochMetrics, RunMetrics, StepMetrics
from .network.architectures import NetworkConfig
from .network.dropout import DropoutMasks
from .network.network import Network
from .optimizer import PaperSGD
from .parallel.columns import Columns
from .parallel.launch import use_large_pages
from .parallel.mesh import Mesh
from .parallel.signals import StopRequest
from .precision import Precision
from .recipes import RECIPES, Header, PublishedError, Recipe
from .run_folder import METRICS, RunFolder
from .schedule import LearningRates
from .state import TrainingState
from .step import training_step
from .throughput import Meter
from .trainer import Trainer

__all__ = [
    "METRICS",
    "RECIPES",
    "Checkpoint",
    "Columns",
    "DropoutMasks",
    "EpochMetrics",
    "Errors",
    "FitResult",
    "Header",
    "LearningRates",
    "Mesh",
    "Meter",
    "Network",
    "NetworkConfig",
    "PaperSGD",
    "Precision",
    "Predictions",
    "PublishedError",
    "Recipe",
    "RunFolder",
    "RunMetrics",
    "StepMetrics",
    "StopRequest",
    "Trainer",
    "TrainingConfig",
    "TrainingState",
    "evaluate",
    "fit",
    "layer_sizes",
    "load_network",
    "predict",
    "predict_files",
    "predict_split",
    "training_step",
    "use_large_pages",
]
