// SPDX-License-Identifier: Apache-2.0
/*
 * What the machine itself can do, in the directory given: floors DIRECTORY [ROUNDS]. Each floor is
 * what no orchestrator on this machine gets below, whoever writes it:
 *
 *   append      4 KiB written at the end of a file, then fdatasync: the file's size changes too
 *   overwrite   4 KiB written over what is there, then fdatasync
 *   loopback    64 bytes to another process over TCP, and back
 *   sqlite      rows of 100 bytes inserted, 64 a transaction, with the settings of our store
 *   http        our HTTP server answering a constant to 64 connections
 *
 * One line of JSON on stdout tells them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "net/net.h"

enum { BLOCK = 4096, ROW = 100, ROWS_A_BATCH = 64, CONNECTIONS = 64, ANSWER = 32 };

static void check(int failed, const char *what)
{
    if (failed)
        die("%s: %s", what, strerror(errno));
}

/* --- fdatasync ------------------------------------------------------------------------------- */

static void print_samples(const char *name, struct samples *s)
{
    printf("\"%s_p50_us\": %.1f, \"%s_p99_us\": %.1f, ", name, samples_percentile_us(s, 50), name,
           samples_percentile_us(s, 99));
    samples_free(s);
}

static void floor_sync(const char *name, bool append, size_t rounds)
{
    static const char block[BLOCK];
    struct samples s;
    int fd = open("floor.sync", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

    check(fd < 0, "floor.sync");
    check(pwrite(fd, block, BLOCK, 0) != BLOCK || fsync(fd), "floor.sync");
    samples_init(&s, rounds);
    for (size_t i = 0; i < rounds; i++) {
        int64_t start = measure_now_ns();
        off_t at = append ? (off_t)(i + 1) * BLOCK : 0;

        check(pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd), "floor.sync");
        samples_add(&s, measure_now_ns() - start);
    }
    close(fd);
    unlink("floor.sync");
    print_samples(name, &s);
}

/* --- loopback -------------------------------------------------------------------------------- */

static void exchange_bytes(int fd, bool first)
{
    char bytes[64] = {0};

    if (first)
        check(write(fd, bytes, sizeof bytes) != sizeof bytes, "loopback");
    for (size_t got = 0; got < sizeof bytes;) {
        ssize_t n = read(fd, bytes, sizeof bytes - got);

        if (n == 0 && !first)
            _exit(0);
        check(n <= 0, "loopback");
        got += (size_t)n;
    }
    if (!first)
        check(write(fd, bytes, sizeof bytes) != sizeof bytes, "loopback");
}

static void tune(int fd)
{
    int one = 1;

    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "TCP_NODELAY");
}

static void floor_loopback(size_t rounds)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    struct samples s;
    pid_t peer;

    check(listener < 0 || bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) ||
              getsockname(listener, (struct sockaddr *)&address, &len),
          "loopback");
    peer = fork();
    check(peer < 0, "fork");
    if (peer == 0) {
        fd = accept(listener, NULL, NULL);
        check(fd < 0, "loopback");
        tune(fd);
        for (;;)
            exchange_bytes(fd, false);
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd < 0 || connect(fd, (struct sockaddr *)&address, len), "loopback");
    tune(fd);
    samples_init(&s, rounds);
    for (size_t i = 0; i < rounds; i++) {
        int64_t start = measure_now_ns();

        exchange_bytes(fd, true);
        samples_add(&s, measure_now_ns() - start);
    }
    close(fd);
    close(listener);
    waitpid(peer, NULL, 0);
    print_samples("loopback", &s);
}

/* --- SQLite ---------------------------------------------------------------------------------- */

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL))
        die("sqlite: %s: %s", text, sqlite3_errmsg(db));
}

static void remove_database(void)
{
    unlink("floor.db");
    unlink("floor.db-wal");
    unlink("floor.db-shm");
}

static void floor_sqlite(size_t batches)
{
    static const char row[ROW];
    int64_t start, cpu, rows = (int64_t)batches * ROWS_A_BATCH;
    sqlite3_stmt *insert = NULL;
    sqlite3 *db = NULL;

    remove_database();
    if (sqlite3_open("floor.db", &db))
        die("sqlite: cannot open floor.db");
    sql(db, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "PRAGMA cache_size=-16384; PRAGMA secure_delete=OFF; PRAGMA wal_autocheckpoint=8192;"
            "CREATE TABLE t(id INTEGER PRIMARY KEY, value BLOB NOT NULL)");
    if (sqlite3_prepare_v2(db, "INSERT INTO t(id, value) VALUES(?1, ?2)", -1, &insert, NULL))
        die("sqlite: %s", sqlite3_errmsg(db));
    start = measure_now_ns();
    cpu = measure_cpu_ns(getpid());
    for (int64_t i = 0; i < rows; i++) {
        if (i % ROWS_A_BATCH == 0)
            sql(db, "BEGIN IMMEDIATE");
        if (sqlite3_bind_int64(insert, 1, i) ||
            sqlite3_bind_blob(insert, 2, row, ROW, SQLITE_STATIC) ||
            sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert))
            die("sqlite: %s", sqlite3_errmsg(db));
        if (i % ROWS_A_BATCH == ROWS_A_BATCH - 1)
            sql(db, "COMMIT");
    }
    cpu = measure_cpu_ns(getpid()) - cpu;
    start = measure_now_ns() - start;
    printf("\"sqlite_rows_per_s\": %.0f, \"sqlite_row_us\": %.2f}\n",
           (double)rows * 1e9 / (double)start, (double)cpu / 1000 / (double)rows);
    sqlite3_finalize(insert);
    sqlite3_close(db);
    remove_database();
}

/* --- HTTP ------------------------------------------------------------------------------------ */

struct http {
    struct net_loop *loop;
    struct net_client *client;
    uint16_t port;
    size_t left, under_way;
    struct blob *body;
};

static struct blob *constant;

static void answer(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    const struct net_header type = {{"content-type", 12}, {"application/proto", 17}};

    (void)arg;
    (void)request;
    net_answer(exchange, 200, &type, 1, constant);
}

/* In a process of its own, until it is killed; writes its port to the descriptor. */
static void serve(int fd)
{
    struct net_server_options options = {.host = "127.0.0.1", .handle = answer};
    struct net_server *server;
    struct net_loop *loop;
    struct error err;
    uint16_t port;

    if (net_loop_create(&loop, &err) || net_server_create(&server, loop, &options, &err))
        die("%s", err.message);
    port = net_server_port(server);
    check(write(fd, &port, sizeof port) != sizeof port, "pipe");
    net_loop_run(loop);
    _exit(1);
}

static void answered(void *arg, const struct net_response *response);

static void ask(struct http *h)
{
    struct net_outgoing request = {.host = slice_str("127.0.0.1"),
                                   .port = h->port,
                                   .method = slice_str("POST"),
                                   .target = slice_str("/floor"),
                                   .body = constant,
                                   .done = answered,
                                   .arg = h};
    struct net_call *call;
    struct error err;

    h->left--;
    h->under_way++;
    if (net_client_send(h->client, &request, &call, &err))
        die("%s", err.message);
}

static void answered(void *arg, const struct net_response *response)
{
    struct http *h = arg;

    if (response->failure || response->status != 200)
        die("http: %s", response->failure ? response->message : "not answered with 200");
    h->under_way--;
    if (h->left)
        ask(h);
    else if (!h->under_way)
        net_loop_stop(h->loop);
}

static void ask_all(struct http *h, size_t count)
{
    h->left = count;
    for (size_t i = 0; i < CONNECTIONS && h->left; i++)
        ask(h);
    net_loop_run(h->loop);
}

static void floor_http(size_t requests)
{
    struct http h = {0};
    int64_t start, cpu;
    struct error err;
    pid_t server;
    int fds[2];

    constant = blob_copy(slice("0123456789abcdef0123456789abcdef", ANSWER));
    check(!constant || pipe(fds), "http");
    server = fork();
    check(server < 0, "fork");
    if (server == 0)
        serve(fds[1]);
    check(read(fds[0], &h.port, sizeof h.port) != sizeof h.port, "pipe");
    if (net_loop_create(&h.loop, &err) ||
        net_client_create(&h.client, h.loop, &(struct net_client_options){0}, &err))
        die("%s", err.message);
    ask_all(&h, CONNECTIONS); /* so that they are connected */
    start = measure_now_ns();
    cpu = measure_cpu_ns(server);
    ask_all(&h, requests);
    printf("\"http_request_us\": %.2f, \"http_requests_per_s\": %.0f, ",
           (double)(measure_cpu_ns(server) - cpu) / 1000 / (double)requests,
           (double)requests * 1e9 / (double)(measure_now_ns() - start));
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    net_client_destroy(h.client);
    net_loop_destroy(h.loop);
    blob_unref(constant);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;

    if (argc < 2 || rounds < 1 || rounds > 1000000 || chdir(argv[1]))
        die("usage: floors DIRECTORY [ROUNDS]");
    printf("{"); /* nothing is flushed by a child: they end by _exit or SIGKILL */
    floor_http(rounds * 20);
    floor_loopback(rounds * 10);
    floor_sync("append", true, rounds);
    floor_sync("overwrite", false, rounds);
    floor_sqlite(rounds);
    return 0;
}
