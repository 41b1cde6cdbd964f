"""From files to rows: tables, columns of words, JSON documents; every row knows the line that it stands on."""
