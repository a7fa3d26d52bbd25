"""Parts of scripts/benchmark: each module measures one thing and makes a Markdown table of it."""
