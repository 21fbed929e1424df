"""Adapters: one package per server or vendor. Each translates vendor errors to errors of the domain."""
