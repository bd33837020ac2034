"""The embedded code task: small Python functions, drawn from procedural skills."""
