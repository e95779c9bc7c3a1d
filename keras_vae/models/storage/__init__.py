"""Model files: what they hold beside the weights, what a model would take, and loading from somebody not trusted."""
