"""The tasks of the text domain, one file each."""
