"""Callbacks for `fit`: checkpoints to resume from, a diagnosis in words, and more for TensorBoard than curves."""

from keras_vae.evaluation.callback import Diagnosis
from keras_vae.pictures.tensorboard import TensorBoardPictures, TensorBoardProjector, TensorBoardSettings
from keras_vae.training.callback import FitCallback
from keras_vae.training.checkpoints import Checkpoints
from keras_vae.training.skipped_steps import SkippedSteps, TrainingDiverged

__all__ = [
    "Checkpoints",
    "Diagnosis",
    "FitCallback",
    "SkippedSteps",
    "TensorBoardPictures",
    "TensorBoardProjector",
    "TensorBoardSettings",
    "TrainingDiverged",
]
