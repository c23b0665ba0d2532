"""Processes: how many, how they end, and how those of others are waited for.

Importing it loads nothing else, so that a signal is heeded from a command's first moment on.
"""
