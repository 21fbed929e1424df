"""Maintenance: reconciliation, rebuild, backup, restore and retention."""
