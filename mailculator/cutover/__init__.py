"""The cutover from one queue to another, judged by what the stores remember.

`evidence` reads the minutes, `prerequisites` and `emptiness` make a yes or a no of them, each with its evidence, and
`assessment` says which phase that amounts to and whether the next step is safe. Nothing here asks a store or a clock,
and what is not known is a no.
"""
