"""How much memory is free, in a container too."""

import pytest

from keras_vae.data.storage import available
from keras_vae.data.storage.available import available_memory

STATISTICS = "anon 5\ninactive_file 30\ntotal_inactive_file 30\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 1 MiB of free memory, and a folder for its groups."""
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemAvailable: 1024 kB\n")
    (tmp_path / "cgroup").write_text("0::/inner/most\n")
    monkeypatch.setattr(available, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(available, "OF_THIS_PROCESS", tmp_path / "cgroup")
    groups = ((tmp_path / "v2", *available.GROUPS[0][1:]), (tmp_path / "v1", *available.GROUPS[1][1:]))
    monkeypatch.setattr(available, "GROUPS", groups)
    return tmp_path


def group(folder, limit, taken, version):
    _, limited, current, _ = available.GROUPS[version]
    folder.mkdir(parents=True)
    for name, text in ((limited, limit), (current, taken), ("memory.stat", STATISTICS)):
        (folder / name).write_text(f"{text}\n")


def test_without_a_container_it_is_that_of_the_machine(machine):
    assert available_memory() == 2**20
    group(machine / "v2", "max", 700, 0)
    assert available_memory() == 2**20
    (machine / "meminfo").write_text("damaged")
    assert available_memory() > 2**20


@pytest.mark.parametrize("place", ["v2", "v2/inner", "v2/inner/most", "v1", "v1/inner/most"])
def test_the_limit_of_a_container_holds_whichever_group_has_it(machine, place):
    group(machine / place, 1000, 700, int(place.startswith("v1")))
    assert available_memory() == 1000 - 700 + 30


def test_the_tightest_of_several_limits_holds(machine):
    group(machine / "v2", 5000, 700, 0)
    group(machine / "v2/inner", 1000, 999, 0)
    group(machine / "v2/inner/most", 800, 900, 0)
    assert available_memory() == 0
    (machine / "cgroup").unlink()
    assert available_memory() == 2**20
