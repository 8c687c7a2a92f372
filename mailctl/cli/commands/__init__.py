"""The commands, one file a noun: each parses, calls the library and renders."""
