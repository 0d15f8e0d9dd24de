"""A user's own facts: plain-text files in a full-text index, looked up claim by claim.

The index is SQLite's FTS5, in memory or in a file that is brought up to date when a source has
changed. Passages are paragraphs of bounded length; a passage is named by its file and number.
"""

__all__ = ["FactBase"]

import hashlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from metabolic.core.errors import ConfigError
from metabolic.validate.support import STOP

_SUFFIXES = frozenset({".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl"})
_PASSAGE_CHARS = 1200
_MAX_FILE_BYTES = 20_000_000
_QUERY_WORDS = 24
_WORD = re.compile(r"\w{2,40}")


class FactBase:
    """Passages of text files, by relevance to a query."""

    def __init__(self, sources: tuple[str, ...], index: str | None = None) -> None:
        """Index ``sources`` (files or folders); ``index`` keeps it on disk.

        Raises:
            ConfigError: a source cannot be read, or SQLite lacks FTS5.
        """
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(index or ":memory:", check_same_thread=False)
            self._db.execute(
                "CREATE VIRTUAL TABLE IF NOT EXISTS passages USING fts5("
                "text, source UNINDEXED, place UNINDEXED, tokenize = 'porter unicode61')"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS files (source TEXT PRIMARY KEY, digest)")
        except sqlite3.Error as exc:
            message = f"facts: the index cannot be opened: {exc}"
            raise ConfigError(message) from exc
        files = [file for source in sources for file in _files(Path(source).expanduser())]
        for file in files:
            self._take(file)
        self._forget({str(file) for file in files})
        self._db.commit()

    def _take(self, file: Path) -> None:
        """Index one file, unless it is indexed as it is."""
        try:
            if file.stat().st_size > _MAX_FILE_BYTES:
                message = f"facts: {file.name} is larger than {_MAX_FILE_BYTES} bytes"
                raise ConfigError(message)
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as exc:
            message = f"facts: {file.name} cannot be read: {exc.strerror}"
            raise ConfigError(message) from exc
        source = str(file)
        digest = hashlib.sha256(text.encode()).hexdigest()
        known = self._db.execute("SELECT digest FROM files WHERE source = ?", (source,)).fetchone()
        if known is not None and known[0] == digest:
            return
        self._db.execute("DELETE FROM passages WHERE source = ?", (source,))
        rows = [(passage, source, place) for place, passage in enumerate(_passages(text))]
        self._db.executemany("INSERT INTO passages VALUES (?, ?, ?)", rows)
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (source, digest))

    def _forget(self, kept: set[str]) -> None:
        """Drop what is no longer among the sources."""
        known = [row[0] for row in self._db.execute("SELECT source FROM files")]
        for source in known:
            if source not in kept:
                self._db.execute("DELETE FROM passages WHERE source = ?", (source,))
                self._db.execute("DELETE FROM files WHERE source = ?", (source,))

    def search(self, query: str, *, limit: int = 3) -> list[tuple[str, str]]:
        """Return the passages that say most of a query's words: (name, text), best first.

        The query is words only: no operator of the index's language gets through.
        """
        words = [word for word in dict.fromkeys(_WORD.findall(query.lower())) if word not in STOP]
        if not words:
            return []
        wanted = " OR ".join(f'"{word}"' for word in words[:_QUERY_WORDS])
        with self._lock:
            rows = self._db.execute(
                "SELECT source, place, text FROM passages WHERE passages MATCH ?"
                " ORDER BY rank LIMIT ?",
                (wanted, limit),
            ).fetchall()
        return [(f"facts:{Path(source).name}#{place}", text) for source, place, text in rows]


def _files(source: Path) -> Iterator[Path]:
    """Yield the text files of a source, sorted. Raises ``ConfigError`` when it does not exist."""
    if source.is_file():
        yield source
    elif source.is_dir():
        yield from sorted(one for one in source.rglob("*") if one.suffix in _SUFFIXES)
    else:
        message = f"facts: {source.name} does not exist"
        raise ConfigError(message)


def _passages(text: str) -> Iterator[str]:
    """Yield paragraphs, the long ones in pieces that end at a space."""
    for paragraph in re.split(r"\n\s*\n", text):
        rest = paragraph.strip()
        while len(rest) > _PASSAGE_CHARS:
            cut = rest.rfind(" ", 0, _PASSAGE_CHARS)
            cut = cut if cut > 0 else _PASSAGE_CHARS
            yield rest[:cut]
            rest = rest[cut:].lstrip()
        if rest:
            yield rest
