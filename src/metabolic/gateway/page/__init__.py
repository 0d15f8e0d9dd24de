"""The page at ``/ui``: what the machine affords, who answers, what it saves, and why.

One file each of HTML, script and style, served from here with a strict policy; no build step, and
nothing is fetched from elsewhere. What it shows is made only while somebody looks.
"""
