"""Parts of scripts/benchmark: each measures one thing and gives it as a Markdown table."""
