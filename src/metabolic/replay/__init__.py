"""Replay: stored records folded again through the functions that made them.

A record holds the inputs of its decision by digest, and its events. The same ``decide``,
``advance`` and ``bill`` must find the same decision, effects and receipt. Reads through a
``Ledger``; decides nothing of its own and writes nothing.
"""
