/* resolve NAME...: lines "NAME ADDRESS" or "NAME error: ..." by getaddrinfo(3); for glibc and for musl. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void print(const char *name, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];
    const void *bytes = address->sa_family == AF_INET6
        ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
        : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    printf("%s %s\n", name, inet_ntop(address->sa_family, bytes, text, sizeof text));
}

int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
        int error = getaddrinfo(names[i], NULL, &hints, &found);
        if (error != 0) {
            printf("%s error: %s\n", names[i], error == EAI_AGAIN ? "again" : "none");
            continue;
        }
        for (struct addrinfo *one = found; one != NULL; one = one->ai_next)
            print(names[i], one->ai_addr);
        freeaddrinfo(found);
    }
    return 0;
}
