"""The environment driven by hand, with the interface of Gymnasium."""
