"""What a desk runs on its machine around the nights: server, worker, pages, their alerts, logs and figures."""
