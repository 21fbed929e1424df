"""Ranking quality against judgements: sets, metrics, reports."""
