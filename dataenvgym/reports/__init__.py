"""Reports of a run: tables, a page, drawings of its graphs."""
