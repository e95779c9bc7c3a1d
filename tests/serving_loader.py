"""The child of `serving_double`: answers calls on one SavedModel by TensorFlow's C++ loader, without its Python.

python -P serving_loader.py RUN_SAVED_MODEL.py FOLDER
"""

import importlib.util
import pickle
import sys


def main(runner: str, folder: str) -> None:
    spec = importlib.util.spec_from_file_location("run_saved_model", runner)
    run_saved_model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_saved_model)
    model = run_saved_model.Model(folder)
    say(model.signatures)
    while True:
        try:
            signature, inputs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            say(("OK", model.run(signature, inputs)))
        except run_saved_model.TensorFlowError as error:
            say((error.code, str(error)))


def say(answer: object) -> None:
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
