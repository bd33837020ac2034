"""Runs: an episode on disk."""
