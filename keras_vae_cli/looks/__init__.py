"""What is shown without TensorFlow: configs, parts, a run, and runs side by side."""
