"""`run_lra.py report`: one HTML page, and model cards."""
