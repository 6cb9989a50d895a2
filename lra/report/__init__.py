"""The command `report`: one HTML page, and model cards."""
