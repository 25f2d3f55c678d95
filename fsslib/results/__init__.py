"""Results: stored tables as text, Markdown, CSV and HTML."""
