"""Measures of quality: offline against judgements, online by experiments. Nothing that serves imports it."""
