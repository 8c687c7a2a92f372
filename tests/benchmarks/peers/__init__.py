"""What a service could use instead of mailctl: the same email, mail server and PostgreSQL."""
