// SPDX-License-Identifier: Apache-2.0
/*
 * TLS by OpenSSL, as a machine between two byte strings: what came from the peer goes in, and what
 * is for it comes out. net_conn moves them.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>

#include "base/error.h"
#include "base/slice.h"

struct net_tls {
    SSL *ssl;
    BIO *in, *out;
    bool done;     /* the handshake */
    char why[256]; /* of a failure, for people */
};

/* The certificate (its chain behind it) and its key, in PEM files. */
int net_tls_server_context(SSL_CTX **context, const char *cert_file, const char *key_file,
                           struct error *err);
/* Trusts the authorities of the PEM file; NULL: those of the system. */
int net_tls_client_context(SSL_CTX **context, const char *ca_file, struct error *err);

/* NULL: out of memory. The client's side verifies that the peer is `host`, a name or an address,
 * and offers HTTP/2 if it is wanted. */
struct net_tls *net_tls_accept(SSL_CTX *context);
struct net_tls *net_tls_connect(SSL_CTX *context, const char *host, bool http2);
void net_tls_free(struct net_tls *tls); /* NULL is fine */

enum { NET_TLS_WAIT = 0, NET_TLS_END = -1, NET_TLS_FAILED = -2 };

bool net_tls_feed(struct net_tls *tls, const void *data, size_t len); /* false: out of memory */
/* 1: done. */
int net_tls_handshake(struct net_tls *tls);
/* Bytes from the peer, or one of the above. */
int net_tls_read(struct net_tls *tls, void *to, size_t len);
bool net_tls_write(struct net_tls *tls, const void *data, size_t len);
void net_tls_say_end(struct net_tls *tls);

/* What is to be sent to the peer. */
struct slice net_tls_pending(const struct net_tls *tls);
void net_tls_consume(struct net_tls *tls, size_t len);

/* What was agreed on: "h2", "http/1.1", or nothing. */
struct slice net_tls_alpn(const struct net_tls *tls);

#endif
