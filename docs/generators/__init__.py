"""The parts of the documentation that are made from the code when the site is built.

A page holds a line `<!-- generated: NAME -->` where the part of that name belongs.
"""
