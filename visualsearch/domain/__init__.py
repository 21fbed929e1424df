"""The nouns of the project: plain values, and the errors that everything raises."""
