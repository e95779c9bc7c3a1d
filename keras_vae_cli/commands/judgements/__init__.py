"""What is said of examples: scores and labels of single ones, and samples beside data."""
