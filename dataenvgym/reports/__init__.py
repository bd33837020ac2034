"""Reports of a run: tables, an HTML page, and drawings of graphs."""
