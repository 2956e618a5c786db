"""`cp`, this side of it: paths as the docker CLI reads them, local files into a tar, a tar into local files."""
