"""What is recorded of searches and clicks, off the path of the request."""
