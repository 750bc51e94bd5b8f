"""The VRNN. TensorFlow is imported by ``vrnn``, ``bounds``, ``train`` and ``tf_scorer`` alone."""

import os

# TensorFlow's start-up notes are no news to the operator; oneDNN adds nothing to compiled graphs and one more note.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
