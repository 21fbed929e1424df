"""The statistics of experiments. Nothing that serves imports this."""
