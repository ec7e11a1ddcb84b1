"""Web: the pages and the JSON API that every node serves of itself."""
