"""The benchmarks of mathematics, one module each."""
