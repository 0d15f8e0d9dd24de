"""From labelled answers to certificates: which drafts may be kept, at which loss.

Reads rows that say how sure the scorer was of a small model's draft and which of two answers a
labeller prefers, tests thresholds lane by lane, and writes what was proved to a file that the
configuration names. Used by the command line only; nothing here runs in the gateway.
"""
