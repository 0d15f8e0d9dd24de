"""What a log of inference costs, and what switching would save: read, counted, estimated.

Reads logs of others and our own into one table (DuckDB, extra ``audit``), counts what was spent,
lost and wasted, and estimates with intervals what smaller models would save, net. It may say
"do not switch". Nothing is asked, sent or kept: the table is a temporary file.
"""
