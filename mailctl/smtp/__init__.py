"""The mail server: sessions kept open, and what becomes of each attempt to hand an email over."""
