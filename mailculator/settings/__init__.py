"""What an operator can set, a file for each part of the service; mailculator.config puts them together and loads them.

A part is a list of fields and nothing else: the variable's name, its bounds, its default, and the sentence that
.env.example and docs/configuration.md show.
"""
