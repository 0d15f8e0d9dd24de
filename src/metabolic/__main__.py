"""``python -m metabolic`` is the ``metabolic`` command."""

from metabolic.cli.main import main

if __name__ == "__main__":
    main()
