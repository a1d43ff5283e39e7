"""Run folders kept on a file system or in an object store besides the driver's own disk (no Ray, no TensorFlow)."""
