"""What the lines of a file are beside sales: states and codes, money that is written elsewhere, and nobody's orders."""
