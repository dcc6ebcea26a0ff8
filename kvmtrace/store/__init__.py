"""The store: a folder of runs, each a manifest and plain Parquet files.

`manifest` is the layout, `writer` adds runs, `catalogue` lists and names them, `connection` runs SQL over them.
"""
