"""One label in a hundred: a classifier on what an autoencoder learned from all images, beside one from scratch.

python benchmarks/few_labels.py
python benchmarks/few_labels.py --seeds 0 --epochs 5
"""
