"""The terminal: output, tables, charts, progress, questions, keyboard and signals."""
