"""The commands of `nightdesk`, one a file: the function named after its file, and EXAMPLES, which end its help."""
