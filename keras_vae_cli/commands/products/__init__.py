"""What is made with the model of a run: samples, codes, reconstructions, interpolations."""
