"""The index as a Parquet file: written for other programs, and read back without encoding."""
