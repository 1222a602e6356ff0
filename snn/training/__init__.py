"""From a run config to trained blocks: stages, routing, the block cache, checkpoints."""
