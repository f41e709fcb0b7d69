"""What can go wrong between client and server: a table of cases, a server that misbehaves."""
