"""The schema as SQL, one file a step, run in order by Piccolo. A step that has run anywhere is never edited again."""
