"""Who may use the box: people, their sessions and tokens, their roles, and the record of changes."""
