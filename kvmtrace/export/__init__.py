"""A run as a file for other programs: a time-line for Perfetto, a DuckDB database, or one table."""
