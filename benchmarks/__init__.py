"""What measures. `make bench` runs everything here; the tables in results/ name the command that made them."""
