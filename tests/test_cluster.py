"""Several workers through the command line: how they find each other, train, lose one and go on."""

import csv
import json
import os
import subprocess
import sys
import time

import keras
import pytest
from test_distribution import free_ports

import keras_vae  # noqa: F401 - load_model finds the classes of imported packages only
from keras_vae import cluster
from keras_vae_cli.errors import ConfigError

EPOCHS = 60
SMALL = [
    "--set",
    "train.distribute=multi_worker",
    f"train.epochs={EPOCHS}",
    "train.checkpoint_seconds=0",
    f"train.early_stopping={EPOCHS}",
    "model.latent_dim=2",
    "model.encoder.units=[8]",
    "model.decoder.units=[8]",
    "export.formats=[]",
]


@pytest.fixture
def start(tmp_path):
    """Start two workers, each in a folder of its own, as on machines that share no disk."""
    everything = []

    def begin():
        addresses = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
        program = [sys.executable, "-c", "from keras_vae_cli import main; main()", "train", *SMALL, "--run", "run"]
        workers = []
        for index in range(2):
            (tmp_path / str(index)).mkdir(exist_ok=True)
            config = json.dumps({"cluster": addresses, "task": {"type": "worker", "index": index}})
            workers.append(
                subprocess.Popen(
                    program,
                    cwd=tmp_path / str(index),
                    env={**os.environ, "TF_CONFIG": config},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        everything.extend(workers)
        return workers

    yield begin
    for worker in everything:
        if worker.poll() is None:
            worker.kill()
            worker.communicate()


def checkpoints(folder):
    return {path.name for path in (folder / "0" / "run" / "checkpoints").glob("[!.]*")}


def wait_for_a_new_checkpoint(folder, workers, seconds=300):
    before, deadline = checkpoints(folder), time.monotonic() + seconds
    while not checkpoints(folder) - before:
        assert all(worker.poll() is None for worker in workers), [w.communicate()[0] for w in workers]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whoever_is_lost_the_others_stop_and_all_go_on_together(start, tmp_path):
    for lost in (1, 0):
        workers = start()
        wait_for_a_new_checkpoint(tmp_path, workers)
        workers[lost].kill()
        output = workers[1 - lost].communicate(timeout=200)[0]
        assert workers[1 - lost].returncode == 1, output
        assert "lost" in output and "same command on all workers" in output
        assert "Traceback" not in output
    workers = start()
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert "resumed from step" in outputs[0]
    assert "writes no files" in outputs[1]
    run = tmp_path / "0" / "run"
    assert {"vae.keras", "history.csv", "report.json", "pictures", "checkpoints"} <= {p.name for p in run.iterdir()}
    assert list((tmp_path / "1").iterdir()) == []
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    assert float(rows[-1]["val_elbo"]) > float(rows[0]["val_elbo"])
    assert keras.saving.load_model(run / "vae.keras").sample(1, seed=0).shape == (1, 8, 8, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs .TF_CONFIG"),
        ("{", "TF_CONFIG is unusable"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "TF_CONFIG is unusable"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "names the jobs"),
    ],
)
def test_a_config_without_a_usable_cluster_says_what_is_needed(monkeypatch, text, message):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=message):
        cluster.make_strategy("multi_worker", 1.0)


def test_the_tasks_of_a_slurm_step_are_the_workers_in_the_order_of_their_ranks(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    step = {"STEP_NODELIST": "n[9-11],gpu1", "STEP_TASKS_PER_NODE": "2(x2),1(x2)", "PROCID": "2", "JOB_ID": "7"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    resolver = cluster._resolver()
    first, second = cluster.PORTS[7], cluster.PORTS[7] + 1
    hosts = [("n9", first), ("n9", second), ("n10", first), ("n10", second), ("n11", first), ("gpu1", first)]
    assert resolver.cluster_spec().as_dict() == {"worker": [f"{host}:{port}" for host, port in hosts]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(ConfigError, match="start with srun"):
        cluster._resolver()
