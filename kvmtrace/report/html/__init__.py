"""Reports and comparisons as one self-contained HTML file: aggregates in tables and charts, no network."""
