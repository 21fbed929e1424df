"""Pictures in tar files, WebDataset shards among them, and in zip files."""
