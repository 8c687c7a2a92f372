"""Webhooks of email providers: who calls is verified first, then what it reports is read.

One module for each provider. They open no connection, except to fetch the certificate of Amazon SNS.
"""
