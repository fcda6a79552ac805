"""What people run: the flows, their settings and the command line. Nothing imports this room."""
