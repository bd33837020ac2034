"""Prompt templates: one folder per domain, one Jinja file per prompt. Data, not code."""
