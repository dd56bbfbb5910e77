"""Programs of other people's resolvers, tiny ones of our own that call them: glibc, musl, c-ares, Java."""
