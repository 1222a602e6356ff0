"""Words and numbers for people and machines: units, terminal, JSON, log, versions."""
