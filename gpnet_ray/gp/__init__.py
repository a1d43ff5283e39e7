"""The Gaussian process: kernels, an exact posterior that grows in place, fit and selection."""
