"""The files an evaluation writes and reads back, the numbers as text, and the console table."""
