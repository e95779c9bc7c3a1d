"""The game of a model with its discriminator: whose weights are whose, what each side pays, and who waits."""
