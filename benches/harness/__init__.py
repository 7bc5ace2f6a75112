"""Measures dlock beside its peers; `benches/run.sh` says how."""
