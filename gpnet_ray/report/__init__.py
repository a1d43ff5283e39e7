"""The report of a run: summary for programs, figures, one HTML page, the table in the terminal."""
