"""Mathematics: trunks, heads, windows, training, scoring. No orchestration, no cluster, no network."""
