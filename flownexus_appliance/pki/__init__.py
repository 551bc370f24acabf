"""Keys and certificates of the box: for now the one its web server shows. DESIGN 7."""
