"""The wiring: state, config, one readable graph per structure, and the episode graph."""
