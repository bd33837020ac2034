"""Many episodes from one file, on one machine or on many."""
