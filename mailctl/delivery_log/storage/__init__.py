"""The database of the delivery log: engine, dialects, schema version, encryption, migrations."""
