"""What the commands share: imported, never run."""

import os

__version__ = "1.0"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow: no chatter
# TensorFlow where nothing else is named, whatever an old ~/.keras/keras.json says.
os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
