"""What is heard of an email after a mail server accepted it: delivered, bounced, complained, unsubscribed."""
