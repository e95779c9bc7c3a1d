"""A file or folder is written whole or not at all, and never over what is no file or folder."""

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from processes import bound_by_permissions
from small_models import make_vae

from keras_vae import export, files, pictures
from keras_vae.callbacks import TensorBoardPictures
from keras_vae.training import checkpoint_files, checkpoint_state


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with files.whole_file(target) as temporary:
        assert temporary.parent == target.parent and not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole" and listed(target.parent) == ["a.txt"]
    files.write_text(target, "näher")
    assert target.read_bytes() == "näher".encode()


def test_an_error_leaves_everything_as_it_was(tmp_path):
    files.write_text(tmp_path / "a.txt", "before")
    for target in (tmp_path / "a.txt", tmp_path / "new" / "folder" / "b.txt"):
        with pytest.raises(ZeroDivisionError), files.whole_file(target) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "other" / "folder") as temporary:
        (temporary / "c.txt").write_text("half")
        raise ZeroDivisionError
    assert listed(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def killed_inside(context, path):
    """A process of its own that is killed inside `files.CONTEXT(path)`. It imports nothing but that one file."""
    program = """
import importlib.util, os, pathlib, sys
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
with getattr(files, sys.argv[2])(pathlib.Path(sys.argv[3])):
    os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", program, files.__file__, context, str(path)], check=False)
    assert ended.returncode == -9


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    killed_inside("whole_file", tmp_path / "a.txt")
    killed_inside("whole_folder", tmp_path / "b")
    assert [name.rpartition("-")[2] for name in listed(tmp_path)] == ["b"]
    (tmp_path / listed(tmp_path)[0].replace("-b", "-a.txt")).write_text("half")
    files.write_text(tmp_path / "c.txt", "whole")
    assert listed(tmp_path) == ["c.txt"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with files.whole_file(tmp_path / "a.txt") as first, files.whole_file(tmp_path / "a.txt") as second:
        first.write_text("1")
        second.write_text("2")
        files.write_text(tmp_path / "b.txt", "3")
        assert len(listed(tmp_path)) == 3
    assert (tmp_path / "a.txt").read_text() == "1" and listed(tmp_path) == ["a.txt", "b.txt"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").write_text("old")
    rename = type(target).rename

    def fails(path, to):
        if path.name.endswith("-a") and not path.name.startswith(files.OLD):
            raise OSError("the disk refuses")
        return rename(path, to)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="the disk refuses"):
        patch.setattr(type(target), "rename", fails)
        with files.whole_folder(target, replace=True):
            pass
    assert listed(tmp_path) == ["a"] and listed(target) == ["old"]
    # A process that was killed between the two renames has left this.
    target.rename(tmp_path / f"{files.OLD}a")
    files.write_text(tmp_path / "b.txt", "whole")
    assert listed(tmp_path) == ["a", "b.txt"] and listed(target) == ["old"]


def test_a_file_keeps_its_mode(tmp_path):
    files.write_text(tmp_path / "secret", "1")
    (tmp_path / "secret").chmod(0o600)
    files.write_text(tmp_path / "secret", "2")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def no_locks(monkeypatch, number=errno.ENOLCK):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(number, "no")))


def test_where_there_are_no_locks_work_goes_on_and_other_errors_are_said(tmp_path, monkeypatch):
    done = []
    for number in (*files.NO_LOCKS, errno.EIO):
        no_locks(monkeypatch, number)
        with contextlib.suppress(OSError), files.locked(tmp_path):
            done.append(number)
    assert done == list(files.NO_LOCKS)
    assert listed(tmp_path) == []


def test_a_folder_that_cannot_be_synchronised_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuses(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not for folders")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuses)
    files.write_text(tmp_path / "a.txt", "whole")
    with files.whole_folder(tmp_path / "b") as temporary:
        (temporary / "c.txt").write_text("whole")
    assert listed(tmp_path) == ["a.txt", "b"] and listed(tmp_path / "b") == ["c.txt"]


def test_a_folder_gives_way_only_if_it_may(tmp_path):
    target = tmp_path / "a"
    for content in ("1", "2"):
        with files.whole_folder(target, replace=True) as temporary:
            (temporary / content).write_text(content)
        assert listed(target) == [content]
    with pytest.raises(FileExistsError, match="is there already"), files.whole_folder(target) as temporary:
        (temporary / "3").write_text("3")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(FileExistsError, match="is there already"), files.whole_folder(tmp_path / "link", replace=True):
        pass
    assert listed(tmp_path) == ["a", "link"] and listed(target) == ["2"]


@pytest.fixture
def special(tmp_path, monkeypatch):
    """Things in a temporary folder that are no regular files, by name."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        # The name of a socket has at most 107 bytes.
        monkeypatch.chdir(tmp_path)
        listening.bind("socket.png")
        (tmp_path / "to_pipe.png").symlink_to("pipe.png")
        yield tmp_path


def kinds(folder):
    return {path.name: stat.S_IFMT(path.lstat().st_mode) for path in folder.iterdir()}


def test_nothing_is_renamed_over_what_is_no_file(special):
    vae = make_vae()
    vae.build()
    before = kinds(special)
    for name in before:
        path = special / name
        for write in (
            lambda path=path: files.write_text(path, "x"),
            lambda path=path: export.to_tflite(vae, path),
            lambda path=path: pictures.samples(vae, n=4, path=path),
            lambda path=path: checkpoint_state.save(vae, path),
        ):
            with pytest.raises(FileExistsError, match=r"is a folder|no regular file"):
                write()
        with pytest.raises((FileExistsError, NotADirectoryError)):
            export.to_saved_model(vae, path / "served" if name != "folder.png" else special / "pipe.png")
        with pytest.raises(FileExistsError, match="is there already"), files.whole_folder(path):
            pytest.fail("it was found after the work only")
        if name != "folder.png":
            with pytest.raises(NotADirectoryError, match="is a file, so nothing can be written below it"):
                TensorBoardPictures(path, np.zeros((1, 8, 8, 1), "float32")).on_train_begin()
            with pytest.raises(FileExistsError), files.whole_folder(path, replace=True):
                pass
    assert kinds(special) == before


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_stands_beside_an_export_is_looked_at_before_the_work(kind, tmp_path):
    """Files whose names nobody has given: each is refused before the model itself, a word, is looked at."""
    os.mkfifo(tmp_path / "pipe")
    make = {
        "pipe": os.mkfifo,
        "link": lambda path: path.symlink_to(tmp_path / "pipe"),
        "folder": lambda path: path.mkdir(),
    }[kind]
    for name in ("export.json", "SERVING.md", "models.config", "batching.config"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        make(folder / name)
        before = kinds(folder)
        with pytest.raises(export.ExportError, match=f"{name} is no regular file, and one is to be written there"):
            if name == "export.json":
                export.to_tflite("no model", folder / "a.tflite")
            else:
                export.to_saved_model("no model", folder)
        assert kinds(folder) == before


def test_links_to_folders_are_followed_and_links_to_nothing_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "nothing").symlink_to("nowhere")
    files.write_text(tmp_path / "link" / "a.txt", "a")
    with files.whole_folder(tmp_path / "link" / "b") as temporary:
        (temporary / "c.txt").write_text("c")
    assert listed(tmp_path / "folder") == ["a.txt", "b"]
    with pytest.raises(NotADirectoryError, match="is a link to nothing, so nothing can be written below it"):
        checkpoint_files.write(tmp_path / "nothing", 1, {}, {})
    with pytest.raises(export.ExportError, match="is a link to nothing, and versions need a folder"):
        export.to_saved_model("no model", tmp_path / "nothing")
    assert listed(tmp_path) == ["folder", "link", "nothing"]


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("before")
    for link, target in (("link.txt", "far/a.txt"), ("dangling.txt", "far/new.txt")):
        (tmp_path / link).symlink_to(target)
        files.write_text(tmp_path / link, "after")
        assert (tmp_path / link).is_symlink() and (tmp_path / target).read_text() == "after"
    assert listed(tmp_path) == ["dangling.txt", "far", "link.txt"] and listed(tmp_path / "far") == ["a.txt", "new.txt"]


def test_nothing_is_written_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for write in (
        lambda: files.write_text(tmp_path / "file" / "a.txt", "x"),
        lambda: checkpoint_files.write(tmp_path / "file", 1, {}, {}),
    ):
        with pytest.raises(NotADirectoryError, match="is a file, so nothing can be written below it"):
            write()


@pytest.mark.parametrize("system_has_locks", [True, False])
def test_a_folder_has_one_lock_which_names_its_process_and_goes_with_it(tmp_path, monkeypatch, system_has_locks):
    if not system_has_locks:
        no_locks(monkeypatch)
    busy = pytest.raises(files.Busy, match=rf"process {os.getpid()} on .* has been writing to .* since 20..-..-.. ")
    with files.locked(tmp_path), busy, files.locked(tmp_path):
        pass
    assert listed(tmp_path) == []
    killed_inside("locked", tmp_path)
    assert listed(tmp_path) == [files.LOCK]  # it names a process that is no more
    with files.locked(tmp_path):
        assert json.loads((tmp_path / files.LOCK).read_text())["process"] == os.getpid()
    assert listed(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "is_stale"),
    [
        ({"began": "1"}, True),  # another process of the same number
        ({"process": 2**40}, True),
        ({}, False),
        ({"machine": "elsewhere"}, False),
        (None, True),  # cut off
    ],
)
def test_without_locks_of_the_system_a_lock_counts_while_its_process_may_live(tmp_path, monkeypatch, change, is_stale):
    no_locks(monkeypatch)
    with files.locked(tmp_path):
        holder = json.loads((tmp_path / files.LOCK).read_text())
    (tmp_path / files.LOCK).write_text('{"process": 1' if change is None else json.dumps({**holder, **change}))
    if is_stale:
        with files.locked(tmp_path):
            pass
        return
    with pytest.raises(files.Busy) as error, files.locked(tmp_path):
        pass
    assert ("delete" in str(error.value)) == ("machine" in change)
    day = files.ABANDONED_AFTER + 1
    os.utime(tmp_path / files.LOCK, (time.time() - day,) * 2)
    if "machine" in change:
        with files.locked(tmp_path):
            pass


def bound(program, *arguments):
    """A process that may write only where the modes of files allow it: root may everywhere."""
    call = [sys.executable, "-c", f"{AS_FILES}{program}", files.__file__, *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, preexec_fn=bound_by_permissions)


AS_FILES = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
"""


def test_a_folder_that_cannot_be_written_to_is_named_with_the_remedy(tmp_path):
    (folder := tmp_path / "run").mkdir(mode=0o555)
    for call in (
        "files.check_folder(sys.argv[2])",
        "files.check_folder(sys.argv[2] + '/new/deeper')",
        "files.write_text(sys.argv[2] + '/a.txt', 'x')",
        "with files.whole_folder(sys.argv[2] + '/b'): pass",
    ):
        ended = bound(call, folder)
        last = ended.stderr.splitlines()[-1]
        assert last.startswith(f"PermissionError: {folder}"), ended.stderr
        assert "cannot be written to (Permission denied): give yourself the right" in last and files.PREFIX not in last
    assert listed(folder) == []


def test_a_place_that_is_taken_by_something_else_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "file/deeper", "link"):
        with pytest.raises(NotADirectoryError, match="is no folder, and one is needed there"):
            files.check_folder(tmp_path / name)
    for name in ("folder", "link"):
        with pytest.raises(FileExistsError, match="is no file, and one is needed there"):
            files.check_file(tmp_path / name)
    files.check_file(tmp_path / "file")
    files.check_file(tmp_path / "none")
    files.check_folder(tmp_path / "folder")
    files.check_folder(tmp_path / "new" / "deeper")
    assert listed(tmp_path) == ["file", "folder", "link"] and listed(tmp_path / "folder") == []


def test_a_model_file_that_cannot_be_written_is_as_it_was(tmp_path, monkeypatch):
    vae = make_vae()
    vae.build()
    checkpoint_state.save(vae, tmp_path / "vae.keras")
    before = (tmp_path / "vae.keras").read_bytes()
    monkeypatch.setattr(files, "_to_disk", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint_state.save(vae, tmp_path / "vae.keras")
    assert (tmp_path / "vae.keras").read_bytes() == before and listed(tmp_path) == ["vae.keras"]
    assert np.isfinite(keras.saving.load_model(tmp_path / "vae.keras").sample(1, seed=0)).all()
