"""The part of the sandbox that runs inside it: standard library only, and no import of the rest of the project."""
