"""What a run shows: tables, a page, drawings of its graphs."""
