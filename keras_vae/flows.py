"""Posteriors made of normalizing flows."""

from keras_vae.posteriors.flows import Flow

__all__ = ["Flow"]
