"""The commands. Each lives in its own module, which is imported when its command runs.

A command reads the configuration, asks the packages beneath, and prints: tables for people,
``--json`` for programs. It computes nothing itself.
"""
