"""Training from the command line, killed, starved of disk or fed impossible settings, in processes of its own."""

import csv
import random
import re
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_vae  # noqa: F401 - load_model finds the classes of imported packages only

BINARY = ["data.binarize=dynamic", "model.likelihood=Bernoulli", "model.prior=StandardNormal"]
SMALL = [
    *["model.latent_dim=2", "model.encoder.units=[16]", "model.decoder.units=[16]", "export.formats=[]"],
    *BINARY,
]
# All that a checkpoint must hold: averages, the scale of the loss, a reduced rate, a patience, an epoch half done.
LONG = [
    *["--set", *SMALL, "train.epochs=60", "train.checkpoint_steps=4", "train.early_stopping=59"],
    *[
        "train.learning_rate=0.1",
        "train.final_learning_rate=null",
        "train.reduce_on_plateau=1",
        "train.ema_momentum=0.9",
    ],
    "train.precision=mixed_float16",
]
PROGRAM = [sys.executable, "-c", "from keras_vae_cli.main import main; main()", "train"]


def train(*arguments, **options):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, **options)


def _heed_signals():
    # A shell without job control, and nohup, have them ignored.
    for kind in (signal.SIGINT, signal.SIGHUP):
        signal.signal(kind, signal.SIG_DFL)


@pytest.fixture
def start():
    """Start training in the background, and end it with the test."""
    processes = []

    def begin(*arguments):
        program = [*PROGRAM, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Whoever starts the tests in the background has Ctrl-C ignored in all that they start.
        processes.append(subprocess.Popen(program, preexec_fn=_heed_signals, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def checkpoints(run):
    return sorted((run / "checkpoints").glob("step-*"))


def wait_for(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def weights(run):
    return keras.saving.load_model(run / "vae.keras").get_weights()


@pytest.mark.slow
def test_killed_at_random_moments_a_run_ends_with_the_weights_of_an_uninterrupted_one(start, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(*LONG, "--run", whole).returncode == 0
    on_disk = [*LONG, "data.memory=disk", f"data.cache={tmp_path / 'cache'}"]
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for kind in (signal.SIGKILL, signal.SIGINT):
        before = [path.name for path in checkpoints(cut)]
        process = start(*on_disk, "--run", cut)
        wait_for(lambda: [path.name for path in checkpoints(cut)][-1:] > before[-1:], process)  # noqa: B023
        time.sleep(0.5 * moments.random())
        process.send_signal(kind)
        output = process.communicate(timeout=240)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output and "the same command goes on from step" in output
    assert all(np.isfinite(weight).all() for weight in weights(cut))
    newest = checkpoints(cut)[-1]
    content = (newest / "arrays.npz").read_bytes()
    (newest / "arrays.npz").write_bytes(content[: len(content) // 2])
    result = train(*on_disk, "--run", cut)
    assert result.returncode == 0, result.stderr
    assert "damaged and skipped" in result.stdout and "resumed from step" in result.stdout
    for a, b in zip(weights(whole), weights(cut), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"moments of seed {seed}")
    histories = [(run / "history.csv").read_text() for run in (whole, cut)]
    assert histories[0] == histories[1], f"moments of seed {seed}"
    rates = [float(row["learning_rate"]) for row in csv.DictReader(histories[0].splitlines())]
    assert rates[-1] < rates[0]


OTHER_UPDATES = {
    "factor": ["model.vae={name: FactorVAE, discriminator_units: [16]}"],
    "gan": ["model.vae={name: VAEGAN, filters: [4, 8], patience: 20, equilibrium: 4.0}"],
    "cascade": [
        "model.vae={name: CascadeVAE, num_classes: 3, switch_on: 40}",
        "model.objective={name: InformationCascade, stage: 20}",
    ],
    "quantized": [
        "model.latent_dim=8",
        "model.posterior={name: VectorQuantized, grid: [2, 2], num_codes: 8}",
        "model.prior={name: AutoregressiveCodes, grid: [2, 2], num_codes: 8, units: 8, num_layers: 1, num_heads: 1}",
        "model.objective={name: CommittedELBO}",
    ],
    "perceptual": ["model.objective={name: Perceptual, weight: 0.5}"],
}


def of_updates(name):
    return pytest.param(name, marks=pytest.mark.slow if name == "gan" else pytest.mark.exhaustive)


@pytest.mark.parametrize("name", [of_updates(name) for name in OTHER_UPDATES])
def test_killed_a_model_with_an_update_of_its_own_ends_with_the_same_weights(name, start, tmp_path):
    """A second optimizer, a discriminator, a stage of a cascade, a codebook, a network of features are resumed too."""
    settings = ["--set", *SMALL, "train.epochs=8", "train.checkpoint_steps=4", *OTHER_UPDATES[name]]
    assert_killed_run_ends_as_a_whole_one(settings, start, tmp_path)


@pytest.mark.slow
def test_killed_a_model_of_a_table_with_gaps_ends_with_the_same_weights(start, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["height,visits,colour"]
    for k in range(300):
        cells = [f"{rng.normal(170, 10):.1f}", str(2 * rng.poisson(9)), ["blue", "red"][rng.integers(2)]]
        lines.append(",".join("" if k % 5 == at else cell for at, cell in enumerate(cells)))
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    settings = ["table", "--set", "data.name=null", f"data.path={tmp_path / 'table.csv'}", "data.missing=true"]
    settings += ["data.batch_size=16", "train.epochs=8", "train.checkpoint_steps=4", *SMALL[:4]]
    assert_killed_run_ends_as_a_whole_one(settings, start, tmp_path)


def assert_killed_run_ends_as_a_whole_one(settings, start, folder):
    whole, cut = folder / "whole", folder / "cut"
    finished = train(*settings, "--run", whole)
    assert finished.returncode == 0, finished.stderr
    process = start(*settings, "--run", cut)
    wait_for(lambda: len(checkpoints(cut)) > 0 and int(checkpoints(cut)[-1].name.rpartition("-")[2]) > 30, process)
    process.kill()
    process.communicate()
    result = train(*settings, "--run", cut)
    assert result.returncode == 0 and "resumed from step" in result.stdout, result.stdout + result.stderr
    models = [keras.saving.load_model(run / "vae.keras") for run in (whole, cut)]
    # The weights, among which are those of a second optimizer, and all that the first remembers.
    for a, b in zip(*([*model.weights, *model.optimizer.variables] for model in models), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert (whole / "history.csv").read_text() == (cut / "history.csv").read_text()


@pytest.mark.slow
def test_told_to_end_by_a_scheduler_or_a_closed_terminal_a_run_is_saved_to_the_step(start, tmp_path):
    settings = ["--set", *SMALL, "train.epochs=240", "train.checkpoint_seconds=3600", "train.ema_momentum=0.9"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(*settings, "--run", whole).returncode == 0
    steps = []
    for kind in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process = start(*settings, "--run", cut)
        while not (line := process.stdout.readline()).startswith("epoch"):
            assert line, "it ended"
        began = time.monotonic()
        process.send_signal(kind)
        output = process.communicate(timeout=60)[0]
        # Of the 30 s that Slurm and Kubernetes give it needs few; on a busy machine all takes longer.
        assert time.monotonic() - began < 60
        assert process.returncode == 128 + kind, output
        assert "Traceback" not in output
        steps.append(int(re.search(r"same command goes on from step (\d+)", output)[1]))
        assert int(checkpoints(cut)[-1].name.rpartition("-")[2]) == steps[-1]
    # No checkpoint was due: each is of the moment of the signal.
    assert 0 < steps[0] < steps[1] < steps[2]
    result = train(*settings, "--run", cut)
    assert result.returncode == 0 and f"resumed from step {steps[-1]} " in result.stdout, result.stderr
    for a, b in zip(weights(whole), weights(cut), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (whole / "history.csv").read_text() == (cut / "history.csv").read_text()


@pytest.mark.slow
def test_more_epochs_of_a_finished_run_end_with_the_weights_of_a_run_of_so_many(tmp_path):
    settings = ["--set", *SMALL, "train.final_learning_rate=null", "train.ema_momentum=0.9", "train.early_stopping=50"]
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    assert train(*settings, "train.epochs=5", "--run", whole).returncode == 0
    assert train(*settings, "train.epochs=2", "--run", grown).returncode == 0
    result = train(*settings, "train.epochs=5", "--run", grown)
    assert result.returncode == 1 and "--accept-changes" in result.stderr
    result = train(*settings, "train.epochs=5", "--run", grown, "--accept-changes")
    assert result.returncode == 0 and "resumed from step 22 (2 epochs)" in result.stdout, result.stderr
    for a, b in zip(weights(whole), weights(grown), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("history.csv", "config.yaml"):
        assert (whole / name).read_text() == (grown / name).read_text()
    assert "finished: nothing to do" in train(*settings, "train.epochs=5", "--run", grown).stdout


@pytest.mark.slow
def test_a_full_disk_costs_a_line_and_not_the_last_good_state(tmp_path):
    """No file may grow beyond 60 kB, as on a disk that is full: a checkpoint and a model are larger."""
    changes = ["train.epochs=3", "train.checkpoint_seconds=0", "model.encoder.units=[64]", *SMALL[:1], *SMALL[3:]]
    arguments = ["--set", *changes, "model.decoder.units=[64]", "--run", tmp_path / "run"]

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    result = train(*arguments, preexec_fn=limited)
    assert result.returncode == 1
    assert result.stdout.count("No checkpoint could be written") == 1 and "Training goes on" in result.stdout
    assert "epoch 3/3" in result.stdout
    assert result.stderr.startswith("keras-vae: Training stopped") and "the same command" in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert not checkpoints(tmp_path / "run") and not list((tmp_path / "run").glob(".writing*"))
    assert train(*arguments).returncode == 0


@pytest.mark.slow
def test_a_learning_rate_that_is_too_high_stops_with_advice_and_leaves_a_finite_model(tmp_path):
    changes = ["train.epochs=8", "train.learning_rate=1000.0", "train.final_learning_rate=null", "train.optimizer=sgd"]
    arguments = ["--set", *changes, *SMALL, "model.likelihood=Normal", "data.binarize=null", "--run", tmp_path / "run"]
    result = train(*arguments)
    assert result.returncode == 1
    assert "steps in a row were skipped because" in result.stderr and "was not finite" in result.stderr
    assert "Lower the learning rate (now 1000)" in result.stderr and "--accept-changes" in result.stderr
    assert "Traceback" not in result.stderr
    for weight in weights(tmp_path / "run"):
        assert np.isfinite(weight).all()
    changes[1] = "train.learning_rate=0.001"
    arguments[1 : 1 + len(changes)] = changes
    changed = train(*arguments, "--accept-changes")
    assert changed.returncode == 0, changed.stderr
    assert "+  learning_rate: 0.001" in changed.stdout


@pytest.mark.slow
def test_killed_in_either_phase_a_pretrained_run_ends_with_the_same_weights(start, tmp_path):
    """The second phase begins at the first one's weights and with the mixture of its codes, whenever that is."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = [
        *["--set", *SMALL, "model.prior={name: NormalMixture, num_components: 3}"],
        "model.encoder={name: distorted, network: {name: mlp, units: [16]}, shift: 1.0}",
        *["train.pretraining={epochs: 8}", "train.epochs=8", "train.checkpoint_steps=4"],
    ]
    finished = train(*settings, "--run", whole)
    assert finished.returncode == 0, finished.stderr
    assert "NormalMixture starts from the codes of 1," in finished.stdout
    first = cut / "pretraining"
    for phase, other in ((first, cut), (cut, first)):
        process = start(*settings, "--run", cut)
        wait_for(lambda: len(checkpoints(phase)) > 1, process)  # noqa: B023
        process.kill()
        process.communicate()
        assert (other / "report.json").is_file() == (phase == cut)
    result = train(*settings, "--run", cut)
    assert result.returncode == 0 and "resumed from step" in result.stdout, result.stdout + result.stderr
    assert "Pretraining" not in result.stdout
    for a, b in zip(weights(whole), weights(cut), strict=True):
        np.testing.assert_array_equal(a, b)
    for history in ("history.csv", "pretraining/history.csv"):
        assert (whole / history).read_text() == (cut / history).read_text()
