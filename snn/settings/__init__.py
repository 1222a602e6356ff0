"""What a training depends on, without torch: run configs, architectures, metrics."""
