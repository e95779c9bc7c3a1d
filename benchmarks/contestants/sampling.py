"""`VAE.sample`, and the same draws decoded at once: sampling.py sample|eager; its peak memory: sampling.py memory N."""

import json
import resource
import sys

import child
import dense


def make(way: str):
    """A function that draws a number of pictures of 28 x 28."""
    vae = dense.model([200, 200], 50)

    def run(count):
        if way == "sample":
            vae.sample(count, seed=0)
        else:
            vae.generate(count, seed=0).likelihood.mean().numpy()

    return run


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        make("sample")(int(sys.argv[2]))
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
    else:
        child.serve(make(sys.argv[1]), warm_up=2000)
