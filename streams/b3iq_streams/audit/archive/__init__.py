"""Archives: what `export` writes, what reads it back, what names every change to it, and SQL on it."""
