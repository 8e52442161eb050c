"""The toy world: a small invented language with a corpus, a task and GLUE's layout."""
