"""AlexNet as its authors trained it: the network in two columns, the update rule, checkpoints and evaluation."""

from .checkpoint import Checkpoint
from .columns import Columns
from .dropout import DropoutMasks
from .evaluation import Errors, evaluate, predict
from .network import AlexNet, NetworkConfig
from .optimizer import PaperSGD
from .recipe import RECIPES, Recipe
from .schedule import Plateau
from .trainer import Trainer, TrainingConfig

__all__ = [
    "RECIPES",
    "AlexNet",
    "Checkpoint",
    "Columns",
    "DropoutMasks",
    "Errors",
    "NetworkConfig",
    "PaperSGD",
    "Plateau",
    "Recipe",
    "Trainer",
    "TrainingConfig",
    "evaluate",
    "predict",
]
