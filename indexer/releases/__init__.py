"""Building, evaluating and tuning releases in the background."""
