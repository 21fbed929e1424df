"""Quality measures: offline against relevance judgements, online by experiments. The servers never import it."""
