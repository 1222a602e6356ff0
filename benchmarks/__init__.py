"""One command per published figure: `python -m benchmarks.NAME [--quick] [--json]`."""
