"""The graph network: structure → graph, batching, MEGNet, training, latent vectors (no Ray)."""
