"""Evaluation of trained networks: passes over a split, errors, averages, submissions, and single picture files."""

from .ensembles import Ensemble, average_networks, check_weights
from .launching import (
    EvaluationConfig,
    load_predictions,
    predict_networks,
    rank_networks,
    rank_predictions,
)
from .passes import ProbabilityPass, RankPass, evaluation_loader, predict_split, rank_split
from .picture_files import ClassProbability, PicturePrediction, predict_files, read_picture
from .predictions import Predictions, join_predictions
from .processes import Processes, with_processes
from .scoring import (
    ClassScore,
    Confusion,
    RankedLabels,
    Score,
    rank_labels,
    score,
    score_classes,
    worst_confusions,
)
from .submission import class_numbers, write_submission
from .summary import EvaluationSummary, summarize

__all__ = [
    "ClassProbability",
    "ClassScore",
    "Confusion",
    "Ensemble",
    "EvaluationConfig",
    "EvaluationSummary",
    "PicturePrediction",
    "Predictions",
    "ProbabilityPass",
    "Processes",
    "RankPass",
    "RankedLabels",
    "Score",
    "average_networks",
    "check_weights",
    "class_numbers",
    "evaluation_loader",
    "join_predictions",
    "load_predictions",
    "predict_files",
    "predict_networks",
    "predict_split",
    "rank_labels",
    "rank_networks",
    "rank_predictions",
    "rank_split",
    "read_picture",
    "score",
    "score_classes",
    "summarize",
    "with_processes",
    "worst_confusions",
    "write_submission",
]
