"""PyOD's VAE with its own settings: outlier scores of the arrays of one file into another.

python pyod_vae.py GIVEN.npz FOUND.npz SEED BATCH_SIZE
"""

import sys

import numpy as np
import torch
from pyod.models.vae import VAE

given, found, seed, batch_size = sys.argv[1:]
torch.set_num_threads(1)
arrays = np.load(given)
model = VAE(random_state=int(seed), batch_size=int(batch_size), verbose=0)
model.fit(arrays["train"])
np.savez(found, **{name: model.decision_function(arrays[name]) for name in arrays if name != "train"})
