"""The domains: `base.py` says what one is, each folder holds one."""
