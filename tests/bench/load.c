/*
 * The load generator and the target of the benchmark.
 *
 * Both share the cores with the proxy under test, so each is one process with one thread, one epoll set, sockets that
 * never block, and as few system calls as the measure allows. Whatever comes back is verified; what is wrong is counted
 * by kind and told, never hidden in a rate.
 *
 *   load target [FAULT]
 *       Listens on 0.0.0.0, on four ports of the kernel's choice, and prints them as "answer P echo P source P sink P".
 *       Ends when its standard input ends, so it cannot outlive the program that started it. FAULT makes it misbehave
 *       in one known way, to prove that the client notices.
 *
 *   load MODE PROXY_PORT TARGET_PORT CONNECTIONS SECONDS
 *       PROXY_PORT 0 goes straight to the target. Sets up, prints "ready", waits for a line on standard input, runs,
 *       prints one line of JSON, and keeps its connections until standard input ends: so whoever drives it can read
 *       the proxy's CPU time and memory at exactly these moments.
 *
 *   MODE   target's port   one unit
 *   conn   answer          a new connection: handshake, 1 KiB answer, end of file from the target
 *   rr     echo            a round trip of 64 bytes
 *   down   source          a byte received; asked for in pieces, so that the exact total is known at the end
 *   up     sink            a byte that the target has acknowledged
 *   idle   echo            a session that answered before and after the pause (SECONDS bounds the second answer)
 *
 * Many addresses of 127.0.0.0/8 are used on both sides, because 28,000 ephemeral ports between two addresses are used
 * up in seconds while closed connections wait in TIME_WAIT.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_SIZE = 1024,
    MESSAGE_SIZE = 64,
    BUFFER_SIZE = 128 * 1024, /* one bulk read: large enough that system calls vanish, small enough for the cache */
    PERIOD = 256 * 1024,      /* bulk bytes repeat after this many */
    SAMPLE = 64,              /* bytes compared at either end of each bulk read */
    PIECE = 4 * 1024 * 1024,  /* bulk bytes asked for at once; two such requests are always under way */
    ACK_EVERY = 1024 * 1024,  /* the sink acknowledges after this many bytes */
    EVENTS = 256,
    OPENING_AT_ONCE = 64,     /* sessions in set-up at the same time: fewer than any listener's backlog */
    TARGET_ADDRESSES = 16,
    CLIENT_ADDRESSES = 64,
    GIVE_UP_AFTER = 1000,     /* failures */
};

static const uint64_t SECOND = 1000000000ULL;
static const double SETUP_SECONDS = 30.0;
static const double DRAIN_SECONDS = 5.0;

static unsigned char pattern[PERIOD + BUFFER_SIZE];
static unsigned char buffer[BUFFER_SIZE];

/* ------------------------------------------------------------------------------------------------- common things */

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* splitmix64: bytes without structure, the same in every process */
static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static void fill_pattern(void)
{
    for (size_t i = 0; i < PERIOD; i += sizeof(uint64_t)) {
        uint64_t word = mixed(i);
        memcpy(pattern + i, &word, sizeof word);
    }
    memcpy(pattern + PERIOD, pattern, BUFFER_SIZE); /* so that no read of the pattern has to wrap */
}

/* Both ends of a piece of the bulk stream: a lost, doubled or moved byte anywhere shifts what stands at the ends, and
 * the total is checked too; to compare every byte would cost the core that the proxy needs. */
static bool piece_is_right(const unsigned char *bytes, size_t n, uint64_t position)
{
    size_t sample = n < SAMPLE ? n : SAMPLE;
    const unsigned char *want = pattern + position % PERIOD;
    return memcmp(bytes, want, sample) == 0 && memcmp(bytes + n - sample, want + n - sample, sample) == 0;
}

static struct sockaddr_in address(uint32_t host, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(host)};
    return a;
}

static uint32_t loopback(unsigned net, unsigned host)
{
    return 127U << 24 | net << 8 | host;
}

static void put64(unsigned char *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (unsigned char)value;
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

static void watch(int set, int operation, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event event = {.events = events, .data.u64 = tag};
    if (epoll_ctl(set, operation, fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static size_t descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* refused only where it changes nothing for us */
    return limit.rlim_cur < 1048576 ? (size_t)limit.rlim_cur : 1048576;
}

/* -------------------------------------------------------------------------------------------------------- target */

enum kind { NOTHING, STDIN, ANSWER_PORT, ECHO_PORT, SOURCE_PORT, SINK_PORT, ECHO, SOURCE, SINK };

struct peer {
    enum kind kind;
    unsigned have;            /* bytes of a request that is not complete */
    unsigned char request[8];
    uint64_t position;        /* bytes sent by a source, received by a sink */
    uint64_t owed;            /* bytes that a source was asked for and has not sent */
    bool broken;              /* a sink saw a wrong byte */
};

static struct {
    int set;
    size_t limit;
    struct peer *peers; /* by descriptor */
    const char *fault;
} target;

static bool faulty(const char *name)
{
    return target.fault != NULL && strcmp(target.fault, name) == 0;
}

static int listen_on(enum kind kind)
{
    struct sockaddr_in a = address(INADDR_ANY, 0);
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        die("cannot listen: %s", strerror(errno));
    target.peers[fd].kind = kind;
    watch(target.set, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
    return ntohs(a.sin_port);
}

static void drop_peer(int fd)
{
    target.peers[fd].kind = NOTHING;
    close(fd);
}

/* The whole life of a connection to the answer port: three system calls. */
static void give_answer(int fd)
{
    static unsigned char spoiled[ANSWER_SIZE + 1];
    size_t size = ANSWER_SIZE;
    const unsigned char *answer = pattern;
    if (target.fault != NULL) {
        memcpy(spoiled, pattern, sizeof spoiled);
        spoiled[700] ^= faulty("answer-byte");
        size = size + faulty("answer-long") - faulty("answer-short");
        answer = spoiled;
    }
    (void)!send(fd, answer, size, MSG_DONTWAIT | MSG_NOSIGNAL); /* the client counts what is missing */
    close(fd);
}

static void accept_peers(int listener, enum kind kind)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (kind == ANSWER_PORT) {
            give_answer(fd);
            continue;
        }
        if ((size_t)fd >= target.limit) {
            close(fd);
            continue;
        }
        target.peers[fd] = (struct peer){.kind = kind == ECHO_PORT ? ECHO : kind == SOURCE_PORT ? SOURCE : SINK};
        watch(target.set, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
    }
}

/* Bytes from a peer, 0 when there are none now; a peer that ended or broke is dropped. */
static size_t received(int fd, unsigned char *into, size_t size)
{
    ssize_t n = recv(fd, into, size, 0);
    if (n > 0)
        return (size_t)n;
    if (n == 0 || errno != EAGAIN)
        drop_peer(fd);
    return 0;
}

static void serve_echo(int fd)
{
    size_t n = received(fd, buffer, 4096);
    if (n == 0)
        return;
    buffer[n - 1] ^= faulty("echo-byte");
    /* 64-byte messages cannot fill a socket's buffer: a short write means that the peer is gone */
    if (send(fd, buffer, n, MSG_NOSIGNAL) != (ssize_t)n)
        drop_peer(fd);
}

static void read_requests(int fd, struct peer *peer)
{
    size_t n = received(fd, buffer, 4096);
    bool was_idle = peer->owed == 0;
    for (size_t i = 0; i < n; i++) {
        peer->request[peer->have++] = buffer[i];
        if (peer->have == sizeof peer->request) {
            peer->owed += get64(peer->request);
            peer->have = 0;
        }
    }
    if (was_idle && peer->owed > 0)
        watch(target.set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, (uint64_t)fd);
}

/* A plain send from memory: sendfile() from a file in memory was measured here and cost more, not less. */
static void feed_source(int fd, struct peer *peer)
{
    uint64_t place = peer->position + faulty("source-shift");
    size_t n = peer->owed < BUFFER_SIZE ? (size_t)peer->owed : BUFFER_SIZE;
    ssize_t sent = send(fd, pattern + place % PERIOD, n, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN)
        return;
    if (sent <= 0 || (faulty("source-short") && peer->position > PIECE)) {
        drop_peer(fd);
        return;
    }
    peer->position += (uint64_t)sent;
    peer->owed -= (uint64_t)sent;
    if (peer->owed == 0)
        watch(target.set, EPOLL_CTL_MOD, fd, EPOLLIN, (uint64_t)fd);
}

static void serve_source(int fd, uint32_t events)
{
    struct peer *peer = &target.peers[fd];
    if (events & ~(uint32_t)EPOLLOUT)
        read_requests(fd, peer);
    if (peer->kind == SOURCE && peer->owed > 0)
        feed_source(fd, peer);
}

static void serve_sink(int fd)
{
    struct peer *peer = &target.peers[fd];
    unsigned char total[8];
    size_t n = received(fd, buffer, BUFFER_SIZE);
    if (n == 0)
        return;
    peer->broken |= !piece_is_right(buffer, n, peer->position) || faulty("sink-byte");
    uint64_t before = peer->position / ACK_EVERY;
    peer->position += n;
    if (peer->position / ACK_EVERY == before)
        return;
    put64(total, peer->broken ? UINT64_MAX : peer->position / ACK_EVERY * ACK_EVERY);
    if (send(fd, total, sizeof total, MSG_NOSIGNAL) != sizeof total)
        drop_peer(fd);
}

static void serve(int fd, uint32_t events)
{
    enum kind kind = target.peers[fd].kind;
    switch (kind) {
    case NOTHING: break;
    case STDIN: exit(0);
    case ANSWER_PORT: case ECHO_PORT: case SOURCE_PORT: case SINK_PORT: accept_peers(fd, kind); break;
    case ECHO: serve_echo(fd); break;
    case SOURCE: serve_source(fd, events); break;
    case SINK: serve_sink(fd); break;
    }
}

static _Noreturn void run_target(const char *fault)
{
    struct epoll_event events[EVENTS];
    target.fault = fault;
    target.limit = descriptor_limit();
    target.peers = calloc(target.limit, sizeof *target.peers);
    target.set = epoll_create1(EPOLL_CLOEXEC);
    if (target.peers == NULL || target.set < 0)
        die("cannot start: %s", strerror(errno));
    target.peers[STDIN_FILENO].kind = STDIN;
    watch(target.set, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, STDIN_FILENO);
    int answer = listen_on(ANSWER_PORT), echo = listen_on(ECHO_PORT);
    int source = listen_on(SOURCE_PORT), sink = listen_on(SINK_PORT);
    printf("answer %d echo %d source %d sink %d\n", answer, echo, source, sink);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(target.set, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            serve((int)events[i].data.u64, events[i].events);
    }
}

/* -------------------------------------------------------------------------------------------------------- client */

enum stage { CLOSED, CONNECTING, GREETED, REQUESTED, OPEN, DONE };
enum phase { SETUP, RUN, DRAIN };
enum failure { CONNECT, METHOD, REPLY, ENDED, SHORT, LONG, MISMATCH, TIMEOUT, FAILURES };

static const char *const FAILURE_NAMES[FAILURES] = {
    [CONNECT] = "connect", [METHOD] = "method", [REPLY] = "reply", [ENDED] = "ended",
    [SHORT] = "short", [LONG] = "long", [MISMATCH] = "mismatch", [TIMEOUT] = "timeout",
};

struct session {
    int fd;
    unsigned id;
    enum stage stage;
    unsigned have;             /* bytes of a handshake message or acknowledgement that is not complete */
    unsigned char partial[32];
    uint64_t started;          /* of a connection or round trip */
    uint64_t sent, got, asked; /* bytes of this answer, message, or stream */
    uint64_t serial;           /* of the message under way */
    unsigned char message[MESSAGE_SIZE];
};

struct mode {
    const char *name;
    bool sessions_last;                      /* opened in set-up, rather than one after the other in the run */
    bool pings_in_setup;                     /* one round trip before "ready" proves that the relay stands */
    bool repeats;                            /* the next round trip follows at once */
    bool window_is_all;                      /* the rate is the whole count over the time until its last byte */
    void (*begin)(struct session *);         /* a session that is open starts its work */
    void (*bytes)(struct session *, const unsigned char *, size_t);
    void (*end_of_file)(struct session *);
    void (*writable)(struct session *);      /* NULL where writes cannot fill the socket's buffer */
};

static struct {
    const struct mode *mode;
    int proxy_port, target_port;
    unsigned connections;
    double seconds;
    int set;
    enum phase phase;
    struct session *sessions;
    unsigned *closed;         /* stack of the sessions that may be opened */
    unsigned closed_count, opening, active;
    unsigned up;              /* sessions that finished set-up */
    unsigned opened;          /* ever; chooses the addresses */
    uint64_t now;             /* when epoll_wait returned last */
    uint64_t run_started;
    uint64_t count, counted_in_window, window;
    uint32_t *delays;         /* ns, one for each count of conn and rr */
    size_t delay_count, delay_room;
    unsigned long failures[FAILURES], failure_total;
    char first_failure[160];
} client;

static void close_session(struct session *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    if (s->stage >= CONNECTING && s->stage < OPEN)
        client.opening--;
    if (s->stage != DONE)
        client.active--;
    s->stage = CLOSED;
    client.closed[client.closed_count++] = s->id;
}

static void fail(struct session *s, enum failure failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (client.failure_total == 0)
        vsnprintf(client.first_failure, sizeof client.first_failure, format, arguments);
    va_end(arguments);
    client.failures[failure]++;
    client.failure_total++;
    close_session(s);
}

static void push_delay(void)
{
    client.delay_room = client.delay_room ? client.delay_room * 2 : 1 << 16;
    client.delays = realloc(client.delays, client.delay_room * sizeof *client.delays);
    if (client.delays == NULL)
        die("out of memory for latencies");
}

static void count_one(uint64_t started)
{
    uint64_t delay = now_ns() - started;
    if (client.delay_count == client.delay_room)
        push_delay();
    client.delays[client.delay_count++] = delay > UINT32_MAX ? UINT32_MAX : (uint32_t)delay;
    client.count++;
}

static void finish(struct session *s)
{
    s->stage = DONE;
    client.active--;
}

static void must_send(struct session *s, const unsigned char *bytes, size_t n)
{
    if (send(s->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
        fail(s, ENDED, "cannot send %zu bytes: %s", n, strerror(errno));
}

/* conn: the target speaks, and closes */

static void begin_nothing(struct session *s)
{
    (void)s;
}

static void answer_bytes(struct session *s, const unsigned char *bytes, size_t n)
{
    if (s->got + n > ANSWER_SIZE)
        fail(s, LONG, "answer has %llu bytes, not %d", (unsigned long long)(s->got + n), ANSWER_SIZE);
    else if (memcmp(bytes, pattern + s->got, n) != 0)
        fail(s, MISMATCH, "answer differs from what the target sent");
    else
        s->got += n;
}

static void answer_ended(struct session *s)
{
    if (s->got != ANSWER_SIZE) {
        fail(s, SHORT, "answer ended after %llu of %d bytes", (unsigned long long)s->got, ANSWER_SIZE);
        return;
    }
    count_one(s->started);
    close_session(s);
}

/* rr and idle: a message goes and must come back equal */

static void send_message(struct session *s)
{
    uint64_t seed = (uint64_t)s->id << 40 | ++s->serial;
    for (size_t i = 0; i < MESSAGE_SIZE; i += sizeof seed) {
        uint64_t word = mixed(seed + i);
        memcpy(s->message + i, &word, sizeof word);
    }
    s->got = 0;
    s->started = now_ns();
    must_send(s, s->message, MESSAGE_SIZE);
}

static void message_back(struct session *s)
{
    if (client.phase == SETUP) {
        client.up++;
        return;
    }
    count_one(s->started);
    if (client.mode->repeats && client.phase == RUN)
        send_message(s);
    else
        finish(s);
}

static bool echo_is_right(struct session *s, const unsigned char *bytes, size_t n)
{
    if (s->got + n > MESSAGE_SIZE)
        fail(s, LONG, "echo is longer than the message");
    else if (memcmp(bytes, s->message + s->got, n) != 0)
        fail(s, MISMATCH, "echo differs from the message");
    else
        return true;
    return false;
}

static void echo_bytes(struct session *s, const unsigned char *bytes, size_t n)
{
    if (!echo_is_right(s, bytes, n))
        return;
    s->got += n;
    if (s->got == MESSAGE_SIZE)
        message_back(s);
}

static void ended_early(struct session *s)
{
    fail(s, ENDED, "connection ended in the middle");
}

/* down: bytes are asked for in pieces, two of them under way, until the time is over */

static void ask_piece(struct session *s)
{
    unsigned char request[8];
    put64(request, PIECE);
    s->asked += PIECE;
    must_send(s, request, sizeof request);
}

static void begin_download(struct session *s)
{
    ask_piece(s);
    if (s->stage == OPEN)
        ask_piece(s);
}

static void download_bytes(struct session *s, const unsigned char *bytes, size_t n)
{
    if (!piece_is_right(bytes, n, s->got)) {
        fail(s, MISMATCH, "bulk data differs near byte %llu", (unsigned long long)s->got);
        return;
    }
    uint64_t pieces = s->got / PIECE;
    s->got += n;
    client.count += n;
    if (s->got > s->asked)
        fail(s, LONG, "more bulk data than was asked for");
    else if (s->got / PIECE != pieces && client.phase == RUN)
        ask_piece(s);
    else if (s->got == s->asked)
        finish(s);
}

/* up: written until the time is over and the piece complete; the sink's totals are the proof */

static void begin_upload(struct session *s)
{
    watch(client.set, EPOLL_CTL_MOD, s->fd, EPOLLIN | EPOLLOUT, s->id);
}

static void upload_more(struct session *s)
{
    size_t n = BUFFER_SIZE; /* divides ACK_EVERY */
    uint64_t rest = ACK_EVERY - s->sent % ACK_EVERY;
    if (client.phase == DRAIN && s->sent % ACK_EVERY == 0) {
        watch(client.set, EPOLL_CTL_MOD, s->fd, EPOLLIN, s->id);
        if (s->got == s->sent)
            finish(s);
        return;
    }
    ssize_t sent = send(s->fd, pattern + s->sent % PERIOD, rest < n ? (size_t)rest : n, MSG_NOSIGNAL);
    if (sent > 0)
        s->sent += (uint64_t)sent;
    else if (errno != EAGAIN)
        ended_early(s);
}

static void acknowledged(struct session *s, uint64_t total)
{
    if (total == UINT64_MAX || total != s->got + ACK_EVERY || total > s->sent) {
        fail(s, MISMATCH, "target did not receive the bulk data as it was sent");
        return;
    }
    client.count += ACK_EVERY;
    s->got = total;
    if (client.phase == DRAIN && s->got == s->sent)
        finish(s);
}

static void upload_bytes(struct session *s, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n && s->stage == OPEN; i++) {
        s->partial[s->have++] = bytes[i];
        if (s->have == 8) {
            s->have = 0;
            acknowledged(s, get64(s->partial));
        }
    }
}

static const struct mode MODES[] = {
    {"conn", false, false, false, false, begin_nothing, answer_bytes, answer_ended, NULL},
    {"rr", true, true, true, false, send_message, echo_bytes, ended_early, NULL},
    {"idle", true, true, false, false, send_message, echo_bytes, ended_early, NULL},
    {"down", true, false, false, false, begin_download, download_bytes, ended_early, NULL},
    /* microsocks lets no acknowledgement pass while upload data waits, so only the end tells what arrived */
    {"up", true, false, false, true, begin_upload, upload_bytes, ended_early, upload_more},
};

/* connect and SOCKS5 handshake (RFC 1928 §3, §4, §6) */

static uint32_t target_address(unsigned n)
{
    return loopback(2, 1 + n % TARGET_ADDRESSES);
}

static void session_open(struct session *s)
{
    s->stage = OPEN;
    s->have = 0;
    client.opening--;
    if (client.mode->pings_in_setup)
        send_message(s);
    else if (client.mode->sessions_last)
        client.up++;
    else
        client.mode->begin(s);
}

static const unsigned char GREETING[] = {5, 1, 0};

static void greet(struct session *s)
{
    s->stage = GREETED;
    must_send(s, GREETING, sizeof GREETING);
}

static void request(struct session *s)
{
    unsigned char message[10] = {5, 1, 0, 1};
    uint32_t host = htonl(target_address(s->id));
    uint16_t port = htons((uint16_t)client.target_port);
    memcpy(message + 4, &host, 4);
    memcpy(message + 8, &port, 2);
    s->stage = REQUESTED;
    s->have = 0;
    must_send(s, message, sizeof message);
}

/* How many bytes the handshake message that is being read has, as far as its first bytes tell. */
static unsigned handshake_size(const struct session *s)
{
    if (s->stage == GREETED)
        return 2;
    return s->have >= 4 && s->partial[3] == 4 ? 22 : 10;
}

static void handshake_message(struct session *s)
{
    if (s->stage == GREETED && memcmp(s->partial, "\5\0", 2) == 0)
        request(s);
    else if (s->stage == GREETED)
        fail(s, METHOD, "proxy chose method %u of version %u", s->partial[1], s->partial[0]);
    else if (s->partial[0] == 5 && s->partial[1] == 0)
        session_open(s);
    else
        fail(s, REPLY, "proxy answered reply %u of version %u", s->partial[1], s->partial[0]);
}

/* Takes the handshake off the front of what came; the rest is the session's. */
static void take(struct session *s, const unsigned char *bytes, size_t n)
{
    while (n > 0 && (s->stage == GREETED || s->stage == REQUESTED)) {
        s->partial[s->have++] = *bytes++;
        n--;
        /* a reply that refuses need not be well formed behind its code */
        if (s->have == handshake_size(s) || (s->stage == REQUESTED && s->have == 2 && s->partial[1] != 0))
            handshake_message(s);
    }
    if (n == 0 || s->stage == CLOSED)
        return;
    if (s->stage == OPEN)
        client.mode->bytes(s, bytes, n);
    else
        fail(s, LONG, "bytes that nobody asked for");
}

static void session_read(struct session *s)
{
    ssize_t n = recv(s->fd, buffer, BUFFER_SIZE, 0);
    if (n > 0)
        take(s, buffer, (size_t)n);
    else if (n < 0 && errno == EAGAIN)
        return;
    else if (n == 0 && s->stage == OPEN)
        client.mode->end_of_file(s);
    else
        fail(s, s->stage == CONNECTING ? CONNECT : ENDED, "connection broke: %s", n ? strerror(errno) : "end of file");
}

static bool established(struct session *s)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0)
        return true;
    fail(s, CONNECT, "cannot connect: %s", strerror(error));
    return false;
}

static void connected(struct session *s)
{
    if (!established(s))
        return;
    watch(client.set, EPOLL_CTL_MOD, s->fd, EPOLLIN, s->id);
    if (client.proxy_port != 0)
        greet(s);
    else
        session_open(s);
}

static void session_event(struct session *s, uint32_t events)
{
    if (s->stage == CLOSED)
        return;
    if (s->stage == CONNECTING && client.proxy_port == 0 && !client.mode->sessions_last)
        s->stage = OPEN, client.opening--; /* the target speaks first: its bytes are the sign */
    if (s->stage == CONNECTING) {
        connected(s);
        return;
    }
    if (events & ~(uint32_t)EPOLLOUT)
        session_read(s);
    if ((events & EPOLLOUT) && s->stage == OPEN && client.mode->writable != NULL)
        client.mode->writable(s);
}

static int new_socket(unsigned n)
{
    const int on = 1;
    struct sockaddr_in from = address(loopback(1, 1 + n / TARGET_ADDRESSES % CLIENT_ADDRESSES), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s (is the limit of open files too low?)", strerror(errno));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (client.mode->sessions_last)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind: %s", strerror(errno));
    return fd;
}

/* False when the connection failed; one that is still being made is greeted later. */
static bool greeted_at_once(struct session *s)
{
    if (send(s->fd, GREETING, sizeof GREETING, MSG_NOSIGNAL) == sizeof GREETING)
        s->stage = GREETED;
    else if (errno != EAGAIN) {
        fail(s, CONNECT, "cannot connect: %s", strerror(errno));
        return false;
    }
    return true;
}

static void open_session(struct session *s)
{
    uint32_t host = client.proxy_port ? loopback(0, 1) : target_address(client.opened);
    struct sockaddr_in to = address(host, client.proxy_port ? client.proxy_port : client.target_port);
    bool target_speaks = client.proxy_port == 0 && !client.mode->sessions_last;
    *s = (struct session){.id = s->id, .stage = CONNECTING, .fd = new_socket(client.opened++)};
    client.opening++;
    client.active++;
    s->started = now_ns();
    if (connect(s->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        fail(s, CONNECT, "cannot connect: %s", strerror(errno));
        return;
    }
    /* over loopback the connection usually stands already, and three system calls are saved */
    if (client.proxy_port != 0 && !greeted_at_once(s))
        return;
    watch(client.set, EPOLL_CTL_ADD, s->fd, target_speaks || s->stage == GREETED ? EPOLLIN : EPOLLOUT, s->id);
}

/* what the phases do */

static void open_one(void)
{
    open_session(&client.sessions[client.closed[--client.closed_count]]);
}

static void open_closed_sessions(void)
{
    while (client.closed_count > 0 && client.failure_total < GIVE_UP_AFTER)
        open_one();
}

static void wait_for_events(uint64_t until)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    int milliseconds = until > now ? (int)((until - now) / 1000000) + 1 : 0;
    int n = epoll_wait(client.set, events, EVENTS, milliseconds);
    for (int i = 0; i < n; i++)
        session_event(&client.sessions[events[i].data.u64], events[i].events);
    client.now = now_ns();
}

static uint64_t after(double seconds)
{
    return now_ns() + (uint64_t)(seconds * (double)SECOND);
}

static void fail_unfinished(void)
{
    for (unsigned i = 0; i < client.connections; i++) {
        struct session *s = &client.sessions[i];
        if (s->stage != CLOSED && s->stage != DONE)
            fail(s, TIMEOUT, "no answer in time");
    }
}

static void set_up(void)
{
    uint64_t until = after(SETUP_SECONDS);
    unsigned tried = 0;
    client.phase = SETUP;
    while (client.up + client.failure_total < client.connections && now_ns() < until) {
        for (; tried < client.connections && client.opening < OPENING_AT_ONCE; tried++)
            open_one(); /* a lasting session that fails is counted, not tried again */
        wait_for_events(until);
    }
    for (unsigned i = 0; client.mode->pings_in_setup && i < client.connections; i++)
        if (client.sessions[i].stage == OPEN && client.sessions[i].got != MESSAGE_SIZE)
            fail(&client.sessions[i], TIMEOUT, "no answer in set-up");
}

static void close_window(void)
{
    client.window = client.now - client.run_started;
    client.counted_in_window = client.count;
}

static void run(void)
{
    uint64_t until = after(client.seconds);
    bool lasting = client.mode->sessions_last;
    client.phase = RUN;
    client.run_started = now_ns();
    for (unsigned i = 0; lasting && i < client.connections; i++)
        if (client.sessions[i].stage == OPEN)
            client.mode->begin(&client.sessions[i]);
    client.now = now_ns();
    while (client.now < until) {
        if (!lasting)
            open_closed_sessions();
        if (client.active == 0)
            break; /* all failed, or all idle sessions have answered */
        wait_for_events(until);
    }
    close_window();
}

static void drain(void)
{
    uint64_t until = after(DRAIN_SECONDS);
    client.phase = DRAIN;
    while (client.active > 0 && now_ns() < until)
        wait_for_events(until);
    if (client.mode->window_is_all)
        close_window();
    fail_unfinished();
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(double share)
{
    if (client.delay_count == 0)
        return 0.0;
    return client.delays[(size_t)(share * (double)(client.delay_count - 1))] / 1000.0;
}

static void print_result(void)
{
    qsort(client.delays, client.delay_count, sizeof *client.delays, by_size);
    printf("{\"units\": %llu, \"units_in_window\": %llu, \"window_seconds\": %.6f, \"sessions\": %u, ",
           (unsigned long long)client.count, (unsigned long long)client.counted_in_window,
           (double)client.window / (double)SECOND, client.mode->sessions_last ? client.up : client.connections);
    printf("\"p50_us\": %.3f, \"p99_us\": %.3f, \"failures\": {", percentile_us(0.5), percentile_us(0.99));
    for (int i = 0; i < FAILURES; i++)
        printf("%s\"%s\": %lu", i ? ", " : "", FAILURE_NAMES[i], client.failures[i]);
    printf("}, \"first_failure\": \"%s\"}\n", client.first_failure); /* our own words: nothing in it needs escaping */
    fflush(stdout);
}

static void prepare_sessions(void)
{
    client.sessions = calloc(client.connections, sizeof *client.sessions);
    client.closed = calloc(client.connections, sizeof *client.closed);
    client.set = epoll_create1(EPOLL_CLOEXEC);
    if (client.sessions == NULL || client.closed == NULL || client.set < 0)
        die("cannot start: %s", strerror(errno));
    for (unsigned i = 0; i < client.connections; i++) {
        client.sessions[i].id = i;
        client.sessions[i].fd = -1;
        client.closed[client.closed_count++] = i;
    }
}

static int run_client(void)
{
    descriptor_limit();
    prepare_sessions();
    if (client.mode->sessions_last)
        set_up();
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    run();
    drain();
    print_result();
    while (getchar() != EOF)
        ;
    return 0;
}

static const struct mode *mode_named(const char *name)
{
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (strcmp(MODES[i].name, name) == 0)
            return &MODES[i];
    die("no mode %s", name);
    return NULL;
}

int main(int count, char **words)
{
    signal(SIGPIPE, SIG_IGN);
    fill_pattern();
    if (count >= 2 && count <= 3 && strcmp(words[1], "target") == 0)
        run_target(count == 3 ? words[2] : NULL);
    if (count != 6)
        die("usage: load target [FAULT] | load conn|rr|idle|down|up PROXY_PORT TARGET_PORT CONNECTIONS SECONDS");
    client.mode = mode_named(words[1]);
    client.proxy_port = atoi(words[2]);
    client.target_port = atoi(words[3]);
    client.connections = (unsigned)atoi(words[4]);
    client.seconds = atof(words[5]);
    return run_client();
}
