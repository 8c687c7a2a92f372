"""The JSON objects that the commands print and the API of the dashboard returns, and their JSON Schemas."""

#: The version of the JSON format: the `schema` field of every object that a command prints.
SCHEMA_VERSION = "mailctl/1"
