"""evaluation.log_likelihood: importance.py SAMPLES; or its peak memory: importance.py memory SAMPLES."""

import json
import resource
import sys

import child
import dense

from keras_vae import evaluation


def make(samples: int):
    """A function that evaluates a number of times."""
    vae = dense.model([200, 200], 50)
    x = child.images(1000)

    def run(images):
        evaluation.log_likelihood(vae, x[:images], num_samples=samples, verbose=False)

    return run


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        make(int(sys.argv[2]))(41)
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
    else:
        child.serve(make(int(sys.argv[1])), warm_up=41)
