/* cares NAME...: lines "NAME ADDRESS" or "NAME error: ..." by c-ares, which is asked for all names at once. */
#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/select.h>

static void heard(void *name, int status, int timeouts, struct ares_addrinfo *found)
{
    (void)timeouts;
    if (status != ARES_SUCCESS) {
        printf("%s error: %s\n", (const char *)name, status == ARES_ENOTFOUND || status == ARES_ENODATA ? "none" : "again");
        return;
    }
    for (struct ares_addrinfo_node *one = found->nodes; one != NULL; one = one->ai_next) {
        char text[INET6_ADDRSTRLEN];
        const void *bytes = one->ai_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)one->ai_addr)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)one->ai_addr)->sin_addr;
        printf("%s %s\n", (const char *)name, inet_ntop(one->ai_family, bytes, text, sizeof text));
    }
    ares_freeaddrinfo(found);
}

static void wait_for_all(ares_channel channel)
{
    for (;;) {
        fd_set readers, writers;
        struct timeval most = {1, 0};
        FD_ZERO(&readers);
        FD_ZERO(&writers);
        int count = ares_fds(channel, &readers, &writers);
        if (count == 0)
            return;
        select(count, &readers, &writers, NULL, ares_timeout(channel, &most, &most));
        ares_process(channel, &readers, &writers);
    }
}

int main(int count, char **names)
{
    ares_channel channel;
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC};
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS || ares_init(&channel) != ARES_SUCCESS)
        return 1;
    for (int i = 1; i < count; i++)
        ares_getaddrinfo(channel, names[i], NULL, &hints, heard, names[i]);
    wait_for_all(channel);
    ares_destroy(channel);
    ares_library_cleanup();
    return 0;
}
