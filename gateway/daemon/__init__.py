"""The composition: files are read, sockets opened, workers started and watched."""
