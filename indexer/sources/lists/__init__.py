"""Pictures that a table names: a CSV or Parquet file."""
