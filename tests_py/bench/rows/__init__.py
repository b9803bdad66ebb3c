"""One module per group of rows; each has ``run(effort, pinning) -> list[Line]``."""
