"""What can be typed: the commands, whose arguments are checked before TensorFlow is imported."""
