"""The shell: the only place that waits.

``drive`` turns effects into calls and calls into events; ``keeper`` wakes and sleeps local
models; ``meter`` closes energy windows; ``snapshot`` holds the latest state of everything.
Decides nothing: ``decide`` does.
"""
