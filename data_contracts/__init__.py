"""What a row is: one declaration a table, and the checks that hold rows to it. Knows no other room."""
