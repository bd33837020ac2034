"""The hardware of this machine, and which students fit on it."""
