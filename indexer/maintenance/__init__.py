"""Reconciliation, rebuild, backup, restore, retention."""
