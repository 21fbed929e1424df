"""Records searches and clicks outside the request path."""
