"""What a run says: `reading` computes a `summary`, and the other modules show it or any table."""
