"""Objectives: formulas over the terms of a model, which they do not know."""

from keras_vae.objectives.capacity import Capacity, JointCapacity
from keras_vae.objectives.clustered import ClusteredELBO
from keras_vae.objectives.dip import DIP
from keras_vae.objectives.elbo import ELBO, CommittedELBO
from keras_vae.objectives.importance_weighted import ImportanceWeighted
from keras_vae.objectives.information_cascade import InformationCascade
from keras_vae.objectives.mmd import MMD
from keras_vae.objectives.objective import Objective
from keras_vae.objectives.perceptual import Perceptual
from keras_vae.objectives.reconstruction import Reconstruction
from keras_vae.objectives.regularizer import Regularizer
from keras_vae.objectives.total_correlation import TotalCorrelation

__all__ = [
    "DIP",
    "ELBO",
    "MMD",
    "Capacity",
    "ClusteredELBO",
    "CommittedELBO",
    "ImportanceWeighted",
    "InformationCascade",
    "JointCapacity",
    "Objective",
    "Perceptual",
    "Reconstruction",
    "Regularizer",
    "TotalCorrelation",
]
