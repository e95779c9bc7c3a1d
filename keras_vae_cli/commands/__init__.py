"""What the commands do, after TensorFlow was imported."""
