"""Public pictures out of packages: fetching and reading them."""
