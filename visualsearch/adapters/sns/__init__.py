"""Amazon SNS, which carries notifications of S3 to webhooks."""
