"""What a study looks like in a terminal: text, tables, maps, progress. Knows no store, no verbs, no torch."""
