"""Runs: episodes on disk, and what is computed from a config or its rows before or beside a run."""
