"""What several tests share and pytest's fixtures build on."""
