"""Workers on several machines: how they find each other, and what is said when one of them is lost."""

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from keras_vae import internals
from keras_vae.training.replicas import is_multi_worker
from keras_vae_cli.errors import ConfigError

LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
# Of the ports of a Slurm job; jobs that share a machine get ports of their own.
PORTS = range(12_000, 28_000, 100)


class WorkerLost(RuntimeError):
    """Another worker has crashed, was stopped, or can no longer be reached."""

    # TensorFlow's threads still wait for the worker, and complain while Python ends.
    leave_at_once = True


def make_strategy(
    distribute: str | None, timeout: float, write: Callable[[str], Any] = print
) -> tf.distribute.Strategy:
    """The strategy of a config. Several workers must call this before TensorFlow does anything else.

    Args:
        distribute: None for one device, "mirrored" for all GPUs of this machine, "multi_worker" for those of all
            machines named in $TF_CONFIG, or of the Slurm step that this process belongs to.
        timeout: seconds that workers wait for each other in one operation.
        write: what prints a line.

    Raises:
        ConfigError: if there is neither a usable $TF_CONFIG nor a Slurm step, or the port is taken.
    """
    if distribute is None:
        return tf.distribute.get_strategy()
    if distribute == "mirrored":
        return tf.distribute.MirroredStrategy()
    resolver = _resolver()
    spec = resolver.cluster_spec()
    own = spec.task_address(resolver.task_type, resolver.task_id)
    others = [address for addresses in spec.as_dict().values() for address in addresses if address != own]
    write(
        f"{_name(resolver.task_type, resolver.task_id).capitalize()} at {own} waits for {', '.join(others) or 'none'}."
    )
    try:
        with _interruptible():
            return tf.distribute.MultiWorkerMirroredStrategy(
                cluster_resolver=resolver,
                communication_options=tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout),
            )
    except tf.errors.UnknownError as error:
        if "start gRPC server" not in str(error):
            raise
        raise ConfigError(
            f"Nothing can be served at {own}: the port is taken, perhaps by a worker that still runs. End that, or "
            "name another port in $TF_CONFIG on all workers."
        ) from error


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals end the process while TensorFlow waits for the other workers, which keeps Python from handling them.

    TensorFlow takes SIGTERM for itself, and does nothing with it: it is given back when all are there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in ours.items() if callable(handler)}
    for number in ours:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def watched(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turn the errors by which TensorFlow tells that a worker is gone into one that says so.

    Raises:
        WorkerLost: within about ten seconds (TensorFlow's heartbeat) of the loss.
    """
    try:
        yield
    except LOST as error:
        if not is_multi_worker(strategy):
            raise
        resolver = strategy.cluster_resolver
        own = f"/job:{resolver.task_type}/replica:0/task:{resolver.task_id}"
        text = str(error).replace(own, "")
        found = re.search(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", text)
        who = _name(found[1], int(found[2])).capitalize() if found else "Another worker"
        if isinstance(error, tf.errors.InternalError) and "ollective" not in text:
            raise
        raise WorkerLost(
            f"{who} is lost: it has crashed, was stopped, or can no longer be reached; what it printed says why. "
            "Training has stopped here too. The same command on all workers goes on from the last checkpoint."
        ) from error


def _name(job: str, index: int) -> str:
    return "the chief" if job == "chief" else f"worker {index}"


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    text = os.environ.get("TF_CONFIG", "")
    if text:
        try:
            given = json.loads(text)
            cluster, task = given["cluster"], given["task"]
            address = cluster[task["type"]][int(task["index"])]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigError(
                f"$TF_CONFIG is unusable ({type(error).__name__}: {error}). It looks like this on worker 0 of two: "
                '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
            ) from None
        if set(cluster) - {"chief", "worker"} or not isinstance(address, str):
            raise ConfigError(f"$TF_CONFIG names the jobs {sorted(cluster)}; there are workers, and perhaps a chief.")
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" in os.environ:
        return _slurm()
    raise ConfigError(
        "train.distribute=multi_worker needs $TF_CONFIG, which names all workers and says which of them this is, or "
        "must run under Slurm's srun. On one machine with several GPUs: train.distribute=mirrored."
    )


def _slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    """The tasks of a Slurm step, in the order of their ranks.

    TensorFlow's `SlurmClusterResolver` sorts the hosts as words, which puts n10 before n9 and gives both the other's
    address, and wants GPUs on every host. So only its readers of Slurm's lists are used.
    """
    try:
        slurm = internals.slurm_lists()
        hosts = slurm.expand_hostlist(os.environ["SLURM_STEP_NODELIST"])
        tasks = slurm.expand_tasks_per_node(os.environ["SLURM_STEP_TASKS_PER_NODE"])
        rank = int(os.environ["SLURM_PROCID"])
        base = PORTS[int(os.environ["SLURM_JOB_ID"]) % len(PORTS)]
        addresses = [f"{host}:{base + k}" for host, n in zip(hosts, tasks, strict=True) for k in range(n)]
        own = addresses[rank]
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"Slurm's variables are unusable ({type(error).__name__}: {error}): start with srun."
        ) from None
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}),
        master=f"grpc://{own}",
        task_type="worker",
        task_id=rank,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
