"""The static site: pages for people, files for programs; of results alone."""
