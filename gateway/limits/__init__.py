"""What one caller may take of a gateway: work, places in the queue, and connections."""
