"""What the commands share: imported, never run."""

import os

__version__ = "1.0"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow: no chatter
