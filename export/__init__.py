"""Export with proof: SavedModel for TensorFlow Serving, TFLite for devices.

export.to_saved_model(vae, "serving/decoder")            # serving/decoder/1/... for TensorFlow Serving
export.to_tflite(vae, "decoder.tflite")                  # quantization=None, "float16", "dynamic", "int8"
export.verify("serving/decoder"); export.verify("decoder.tflite")
"""

from keras_vae.export.errors import ExportError, TargetError, VerificationError
from keras_vae.export.proof.report import Check, Report
from keras_vae.export.proof.verify import verify
from keras_vae.export.saved_model import to_saved_model
from keras_vae.export.tflite import to_tflite

__all__ = [
    "Check",
    "ExportError",
    "Report",
    "TargetError",
    "VerificationError",
    "to_saved_model",
    "to_tflite",
    "verify",
]
