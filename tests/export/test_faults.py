"""`export.verify` rejects each faulty artifact that people export by accident, and says what is wrong with it."""

import export_faults
import pytest

from keras_vae import export

# Those of everyday are tried every day, the rest with the slow tests.
FAULTS = {
    "tracked_model": ("weights", "runs serving_default"),
    "random_head": ("no random state", "runs serving_default"),
    "compiled": ("no XLA", "runs serving_default"),
    "half_precision": ("no half precision",),
    "policy_switched_in_place": ("no half precision",),
    "without_variables": ("weights", "runs serving_default"),
    "stored_generator": ("no random state", "runs serving_default"),
    "seed_generator": ("no assignment to a variable", "runs serving_default"),
    "assertion": ("no assertion", "runs serving_default"),
    "python_function": ("harmless operations", "no Python function", "runs serving_default"),
    "fixed_batch": ("signatures",),
    "rows_mixed": ("runs serving_default",),
    "not_a_number": ("weights", "runs serving_default"),
    "broadcasting": ("refuses bad requests to serving_default",),
    "absolute_path": ("no absolute path",),
}
EVERYDAY = (
    "tracked_model",
    "random_head",
    "compiled",
    "half_precision",
    "policy_switched_in_place",
    "without_variables",
    "stored_generator",
)
DEVICE_FAULTS = {
    "tracked_device": ("no variable", "runs serving_default"),
    "flex": ("harmless operations", "builtin ops only", "no variable", "runs serving_default"),
    "random_device": ("no random state", "runs serving_default"),
    "nan_device": ("runs serving_default",),
}


def failed(report):
    return {check.name for check in report.checks if not check.passed}


def test_a_sound_model_passes(tmp_path):
    export_faults.sound(tmp_path / "1")
    report = export.verify(tmp_path)
    assert report.ok and report.path == tmp_path / "1"


def rarely(name):
    return pytest.param(name, marks=pytest.mark.slow(every=True))


@pytest.mark.parametrize("fault", [n if n in EVERYDAY else rarely(n) for n in FAULTS])
def test_a_faulty_saved_model_is_rejected(fault, tmp_path):
    getattr(export_faults, fault)(tmp_path / "1")
    with pytest.raises(export.VerificationError) as caught:
        export.verify(tmp_path / "1")
    assert set(FAULTS[fault]) <= failed(caught.value.report)
    for name in FAULTS[fault]:
        assert name in str(caught.value)


@pytest.mark.parametrize("fault", DEVICE_FAULTS)
def test_a_faulty_tflite_file_is_rejected(fault, tmp_path):
    getattr(export_faults, fault)(tmp_path / "1", tmp_path / "decoder.tflite")
    with pytest.raises(export.VerificationError) as caught:
        export.verify(tmp_path / "decoder.tflite")
    assert set(DEVICE_FAULTS[fault]) <= failed(caught.value.report)


def test_what_is_no_model_at_all_is_rejected(tmp_path):
    with pytest.raises(export.ExportError, match="does not exist"):
        export.verify(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(export.VerificationError, match=r"saved_model.pb"):
        export.verify(tmp_path / "empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "saved_model.pb").write_text("not a model")
    with pytest.raises(export.VerificationError, match=r"saved_model.pb"):
        export.verify(tmp_path / "text")
    for name, content in (
        ("text.tflite", b"not a model"),
        ("empty.tflite", b""),
        ("short.tflite", b"\x1c\0\0\0TFL3" * 3),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(export.VerificationError):
            export.verify(tmp_path / name)
