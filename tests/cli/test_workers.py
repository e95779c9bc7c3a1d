"""Several workers through the command line: how they find each other, train, lose one and go on."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml
from processes import free_ports

import keras_vae  # noqa: F401 - load_model finds the classes of imported packages only
from keras_vae_cli import catalogue, settings
from keras_vae_cli.commands.workers import PORTS, _resolver, make_strategy
from keras_vae_cli.errors import ConfigError

EPOCHS = 6
# Epochs of 41 steps, so that a checkpoint is nearly always one within an epoch.
SMALL = [
    "--set",
    "train.distribute=multi_worker",
    f"train.epochs={EPOCHS}",
    "train.checkpoint_steps=4",
    "data.batch_size=32",
    "model.latent_dim=2",
    "data.binarize=dynamic",
    "model.likelihood=Bernoulli",
    "model.prior=StandardNormal",
    "model.encoder.units=[8]",
    "model.decoder.units=[8]",
    "export.formats=[]",
]


@pytest.fixture
def start():
    """Start workers, each in a folder of its own, as on machines that share no disk."""
    everything = []

    def begin(folder, changes=((), ()), ports=None):
        addresses = {"worker": [f"127.0.0.1:{port}" for port in ports or free_ports(len(changes))]}
        program = [sys.executable, "-c", "from keras_vae_cli.main import main; main()", "train", "--run", "run", *SMALL]
        workers = []
        for index, changed in enumerate(changes):
            (folder / str(index)).mkdir(parents=True, exist_ok=True)
            config = json.dumps({"cluster": addresses, "task": {"type": "worker", "index": index}})
            workers.append(
                subprocess.Popen(
                    [*program, *changed],
                    cwd=folder / str(index),
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
        worker.kill()
        if not worker.stdout.closed:
            worker.communicate()


def checkpoints(folder):
    return {path.name for path in (folder / "0" / "run" / "checkpoints").glob("[!.]*")}


def wait_for_a_new_checkpoint(folder, workers, seconds=300):
    before, deadline = checkpoints(folder), time.monotonic() + seconds
    while not checkpoints(folder) - before:
        assert all(worker.poll() is None for worker in workers), [w.communicate()[0] for w in workers]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def weights(run):
    return keras.saving.load_model(run / "vae.keras").get_weights()


def lose(start, folder, lost, how):
    """Send one of two workers a signal after the first checkpoint, and see the other stop."""
    workers = start(folder)
    wait_for_a_new_checkpoint(folder, workers)
    workers[lost].send_signal(how)
    output = workers[1 - lost].communicate(timeout=200)[0]
    assert workers[1 - lost].returncode == 1, output
    assert "lost" in output and "same command on all workers" in output
    assert "Traceback" not in output
    workers[lost].kill()
    workers[lost].communicate()


def finish(start, folder, resumes):
    workers = start(folder)
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert ("resumed from step" in outputs[0]) == resumes
    assert "this worker writes none" in outputs[1]
    run = folder / "0" / "run"
    assert {"vae.keras", "history.csv", "report.json", "pictures", "checkpoints"} <= {p.name for p in run.iterdir()}
    assert list((folder / "1").iterdir()) == []
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    assert float(rows[-1]["val_elbo"]) > float(rows[0]["val_elbo"])
    return keras.saving.load_model(run / "vae.keras").get_weights()


@pytest.mark.slow
def test_a_worker_is_killed_the_chief_stops_and_both_go_on_from_a_checkpoint(start, tmp_path):
    lose(start, tmp_path, 1, signal.SIGKILL)
    finish(start, tmp_path, resumes=True)


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_ends_all_at_one_step_and_they_go_on_to_the_same_weights(start, tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    # Those that are cut short read from the disk, from files that only one of them can make.
    on_disk = [("data.memory=disk", f"data.cache={tmp_path / 'cache'}")] * 2
    workers = start(cut, on_disk)
    wait_for_a_new_checkpoint(cut, workers)
    began = time.monotonic()
    workers[1].send_signal(signal.SIGTERM)
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert time.monotonic() - began < 20
    assert [worker.returncode for worker in workers] == [143, 143], outputs
    assert "Traceback" not in "".join(outputs) and "lost" not in "".join(outputs)
    step = re.search(r"goes on from step (\d+)", outputs[0])[1]
    workers = start(cut, on_disk)
    assert f"resumed from step {step} " in (workers[0].communicate(timeout=300)[0] + workers[1].communicate()[0])
    for a, b in zip(weights(cut / "0" / "run"), finish(start, whole, resumes=False), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Slurm", "TF_CONFIG"])
def test_a_worker_alone_trains(tmp_path, how):
    (port,) = free_ports(1)
    config = json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}"]}, "task": {"type": "worker", "index": 0}})
    slurm = {"STEP_NODELIST": "localhost", "STEP_TASKS_PER_NODE": "1", "PROCID": "0", "JOB_ID": str(port)}
    env = {"TF_CONFIG": config} if how == "TF_CONFIG" else {f"SLURM_{name}": value for name, value in slurm.items()}
    program = [sys.executable, "-c", "from keras_vae_cli.main import main; main()", "train", "--run", "run", *SMALL]
    ended = subprocess.run(program, cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))


@pytest.mark.exhaustive
def test_whoever_is_killed_or_stuck_the_weights_are_those_of_an_uninterrupted_run(start, tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    for lost, how in ((0, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGSTOP)):
        lose(start, cut, lost, how)
    for a, b in zip(finish(start, cut, resumes=True), finish(start, whole, resumes=False), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_workers_with_other_settings_than_the_chief_are_told(start, tmp_path):
    workers = start(tmp_path, [[], ["train.seed=1"]])
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [1, 1], outputs
    assert "not those of the chief" in outputs[1] and "+  seed: 1" in outputs[1]
    assert "orker 1 is lost" in outputs[0] and "Traceback" not in "".join(outputs)


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        worker = start(tmp_path, [[]], [server.getsockname()[1]])[0]
        output = worker.communicate(timeout=100)[0]
    assert worker.returncode == 1 and "the port is taken" in output, output
    assert "Traceback" not in output


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
        make_strategy("multi_worker", 1.0)


def test_the_tasks_of_a_slurm_step_are_the_workers_in_the_order_of_their_ranks(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    step = {"STEP_NODELIST": "n[9-11],gpu1", "STEP_TASKS_PER_NODE": "2(x2),1(x2)", "PROCID": "2", "JOB_ID": "7"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    resolver = _resolver()
    first, second = PORTS[7], PORTS[7] + 1
    hosts = [("n9", first), ("n9", second), ("n10", first), ("n10", second), ("n11", first), ("gpu1", first)]
    assert resolver.cluster_spec().as_dict() == {"worker": [f"{host}:{port}" for host, port in hosts]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(ConfigError, match="start with srun"):
        _resolver()


def test_the_manifest_for_kubernetes_starts_workers_that_understand_their_tf_config(monkeypatch):
    manifest = yaml.safe_load((catalogue.configs_folder() / "kubernetes" / "tfjob.yml").read_text("utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubeflow.org/v1", "TFJob")
    (job, replicas), *others = manifest["spec"]["tfReplicaSpecs"].items()
    assert not others and job == "Worker" and replicas["restartPolicy"] == "OnFailure"
    (container,) = replicas["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in replicas["template"]["spec"]["volumes"]}
    program, command, config, *options = [*container["command"], *container["args"]]
    assert (program, command) == ("keras-vae", "train")
    read = settings.load(config, options[options.index("--set") + 1 :])
    assert read.train.distribute == "multi_worker"
    # What the training operator puts into each pod.
    addresses = [f"keras-vae-worker-{k}.default.svc:2222" for k in range(replicas["replicas"])]
    for index in range(replicas["replicas"]):
        task = {"type": "worker", "index": index}
        given = {"cluster": {"worker": addresses}, "task": task, "environment": "cloud"}
        monkeypatch.setenv("TF_CONFIG", json.dumps(given))
        resolver = _resolver()
        assert resolver.cluster_spec().as_dict() == {"worker": addresses}
        assert (resolver.task_type, resolver.task_id) == ("worker", index)
