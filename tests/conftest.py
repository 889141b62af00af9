"""Its place puts this folder on the import path: `report_example.py` is shared by unit and end-to-end tests."""
