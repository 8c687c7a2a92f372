"""A small web service that sends its emails with mailctl."""
