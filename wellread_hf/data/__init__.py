"""Text in: corpora, packed blocks, task rows, transfer sets, and the embedded toy world."""
