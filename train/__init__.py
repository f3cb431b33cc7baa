"""AlexNet as its authors trained it: the network in two columns, the update rule, checkpoints and evaluation."""

from .architectures import NetworkConfig
from .checkpoint import Checkpoint
from .columns import Columns
from .dropout import DropoutMasks
from .evaluation import Errors, evaluate, predict
from .mesh import Mesh
from .network import Network
from .optimizer import PaperSGD
from .prediction import predict_files
from .predictions import Predictions, predict_split
from .recipe import RECIPES, Recipe
from .schedule import LearningRates
from .signals import StopRequest
from .trainer import Trainer, TrainingConfig

__all__ = [
    "RECIPES",
    "Checkpoint",
    "Columns",
    "DropoutMasks",
    "Errors",
    "LearningRates",
    "Mesh",
    "Network",
    "NetworkConfig",
    "PaperSGD",
    "Predictions",
    "Recipe",
    "StopRequest",
    "Trainer",
    "TrainingConfig",
    "evaluate",
    "predict",
    "predict_files",
    "predict_split",
]
