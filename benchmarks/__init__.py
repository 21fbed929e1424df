"""Benchmarks. `make bench` runs all of them. Each table in results/ names the command that produced it."""
