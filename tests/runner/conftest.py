"""Being here, it puts this folder on the path: tests in the folders below share its planted rows."""
