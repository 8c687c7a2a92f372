"""The terminal: output, tables, keyboard, progress, completion, commands loaded when they are asked for."""
