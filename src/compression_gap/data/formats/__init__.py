"""One file for each format in which others keep demonstrations."""
