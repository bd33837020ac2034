"""The benchmarks of the tool-use domain."""
