"""One module a benchmark: its command line, nothing else."""

__all__: list[str] = []
