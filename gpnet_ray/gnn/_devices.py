"""TensorFlow on a machine that it shares with others."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["use_memory_growth"]


def use_memory_growth() -> int:
    """Let TensorFlow take GPU memory as it needs it, not all of it; give the number of GPUs seen.

    Call it before the first operation of a process: several actors may share one GPU. Calling it
    again changes nothing.

    Raises:
        RuntimeError: the GPUs were already in use without it (TensorFlow's own message).
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    return len(gpus)
