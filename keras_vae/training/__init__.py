"""What `fit` does around the formula: guards, replicas, checkpoints. Nothing here imports a model."""
