"""The `visualsearch` command, one module per noun."""
