"""Side effects, one verb a module, each a thin Prefect task; sources, monitors and sinks are plugins, one a file."""
