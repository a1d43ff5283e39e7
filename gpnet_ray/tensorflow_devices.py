"""TensorFlow on a machine that it shares with others; for modules that use TensorFlow anyway."""

from __future__ import annotations

import warnings

import tensorflow as tf

__all__ = ["prepare_gpus"]


def prepare_gpus() -> int:
    """Let TensorFlow share the GPUs, and compute on them what it computes on a CPU; give how many it sees.

    Memory is taken as it is needed, not all of it: several actors may share one GPU. Products of float32
    matrices are computed in float32: by default TensorFlow rounds their factors to the 10 bits of TF32, which
    moved the latents of a network by 1e-3 of their size (an H100) and would make shards in float32 pick others.

    Call it before the first operation of a process. Calling it again changes nothing and takes
    microseconds. Where there is no GPU nothing is set.

    Warns:
        RuntimeWarning: a GPU was already in use, or was set up in another way; its memory stays as it is.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and tf.config.experimental.tensor_float_32_execution_enabled():
        tf.config.experimental.enable_tensor_float_32_execution(False)
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
