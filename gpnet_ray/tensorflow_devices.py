"""TensorFlow on a machine that it shares with others; for modules that use TensorFlow anyway."""

from __future__ import annotations

import warnings

import tensorflow as tf

__all__ = ["use_memory_growth"]


def use_memory_growth() -> int:
    """Let TensorFlow take GPU memory as it needs it, not all of it; give the number of GPUs seen.

    Call it before the first operation of a process: several actors may share one GPU. Calling it
    again changes nothing and takes microseconds.

    Warns:
        RuntimeWarning: a GPU was already in use, or was set up in another way; it stays as it is.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        if tf.config.experimental.get_memory_growth(gpu):
            continue
        try:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        except (RuntimeError, ValueError) as error:
            # Whoever set up TensorFlow before us, a notebook perhaps, decided on its memory.
            message = (
                f"TensorFlow keeps the memory of {gpu.name} as it was set up before gpnet_ray "
                f"({error}); to share the GPU, use gpnet_ray before other TensorFlow operations or "
                "set TF_FORCE_GPU_ALLOW_GROWTH=true"
            )
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return len(gpus)
