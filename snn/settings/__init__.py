"""The settings of a training, without torch: run configs, architectures, metrics."""
