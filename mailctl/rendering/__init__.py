"""From an email to a MIME message: templates, sandbox, composer."""
