"""The data path: sockets, one nested epoll set a worker, and the commands of the session layer carried out."""
