"""Settings of all tests."""

from hypothesis import settings

# No deadline per example: the first one may import scipy or SymPy, and no test may depend on a clock.
settings.register_profile("dataenvgym", deadline=None)
settings.load_profile("dataenvgym")
