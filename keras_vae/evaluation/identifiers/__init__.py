"""Codes of examples as identifiers: tuples of a few digits, and how well they tell the examples apart."""

from keras_vae.evaluation.identifiers.tuples import SemanticIDs, semantic_ids

__all__ = ["SemanticIDs", "semantic_ids"]
