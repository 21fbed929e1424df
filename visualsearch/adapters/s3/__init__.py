"""Any S3 object store."""
