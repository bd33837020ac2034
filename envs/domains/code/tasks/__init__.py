"""The benchmarks of programming, one module or folder each."""
