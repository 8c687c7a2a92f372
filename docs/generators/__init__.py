"""The parts of the documentation that are made from the code when the site is built.

A page holds the lines `<!-- generated: NAME -->` and `<!-- /generated -->` where the part of that name
belongs. Between them, a quotation tells those who read the source of the page where else they find the same.
"""
