// SPDX-License-Identifier: Apache-2.0
/*
 * The one file that knows OpenSSL (but for base64, in proxy.c). TLS 1.2 and later, no
 * renegotiation, no compression; the rest is OpenSSL's (the system's) own choice.
 */
#include "net/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static const unsigned char offers[] = "\x02h2\x08http/1.1";
enum { HTTP2_OFFER = 3 }; /* bytes of it */

/* --- contexts -------------------------------------------------------------------------------- */

/* The reason that OpenSSL gives for its last failure: its first one, as those that follow only say
 * which part of the library met it. */
static const char *reason(void)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);

    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    return text ? text : "unknown error";
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);

    if (!context)
        return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

/* OpenSSL would ask for the passphrase of a key on the terminal, and wait. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

/* HTTP/2, if the client offers it; else HTTP/1.1; else nothing is agreed on, which is fine. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, offers, sizeof offers - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int net_tls_server_context(SSL_CTX **out, const char *cert_file, const char *key_file,
                           struct error *err)
{
    SSL_CTX *context = new_context(TLS_server_method());
    int rc;

    if (!context)
        return error_memory(err);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1) {
        rc = error_set(err, CODE_INVALID_ARGUMENT, "cannot read a certificate from %s: %s",
                       cert_file, reason());
        goto fail;
    }
    if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        rc = error_set(err, CODE_INVALID_ARGUMENT, "cannot use the private key in %s with %s: %s",
                       key_file, cert_file, reason());
        goto fail;
    }
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    *out = context;
    return 0;
fail:
    SSL_CTX_free(context);
    return rc;
}

int net_tls_client_context(SSL_CTX **out, const char *ca_file, struct error *err)
{
    SSL_CTX *context = new_context(TLS_client_method());
    int rc;

    if (!context)
        return error_memory(err);
    ERR_clear_error();
    if ((ca_file ? SSL_CTX_load_verify_file(context, ca_file)
                 : SSL_CTX_set_default_verify_paths(context)) != 1) {
        rc =
            error_set(err, CODE_INVALID_ARGUMENT, "cannot read certificate authorities from %s: %s",
                      ca_file ? ca_file : "the system", reason());
        SSL_CTX_free(context);
        return rc;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    *out = context;
    return 0;
}

/* --- one connection -------------------------------------------------------------------------- */

static struct net_tls *new_tls(SSL_CTX *context)
{
    struct net_tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        return NULL;
    tls->ssl = SSL_new(context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        SSL_free(tls->ssl);
        BIO_free(tls->in);
        BIO_free(tls->out);
        free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    return tls;
}

struct net_tls *net_tls_accept(SSL_CTX *context)
{
    struct net_tls *tls = new_tls(context);

    if (tls)
        SSL_set_accept_state(tls->ssl);
    return tls;
}

static bool set_peer(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct net_tls *net_tls_connect(SSL_CTX *context, const char *host, bool http2)
{
    struct net_tls *tls = new_tls(context);
    size_t skip = http2 ? 0 : HTTP2_OFFER;

    if (!tls)
        return NULL;
    SSL_set_connect_state(tls->ssl);
    if (set_peer(tls->ssl, host) &&
        SSL_set_alpn_protos(tls->ssl, offers + skip, (unsigned)(sizeof offers - 1 - skip)) == 0)
        return tls;
    net_tls_free(tls);
    return NULL;
}

void net_tls_free(struct net_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl); /* with its BIOs */
    free(tls);
}

bool net_tls_feed(struct net_tls *tls, const void *data, size_t len)
{
    assert(len <= INT_MAX);
    return BIO_write(tls->in, data, (int)len) == (int)len;
}

/* What a result that is no success means. */
static int judge(struct net_tls *tls, int rc)
{
    long verified;

    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return NET_TLS_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        return NET_TLS_END;
    default:
        break;
    }
    verified = SSL_get_verify_result(tls->ssl);
    if (!tls->done && !SSL_is_server(tls->ssl) && verified != X509_V_OK)
        snprintf(tls->why, sizeof tls->why, "the certificate cannot be verified: %s",
                 X509_verify_cert_error_string(verified));
    else
        snprintf(tls->why, sizeof tls->why, "TLS: %s", reason());
    ERR_clear_error();
    return NET_TLS_FAILED;
}

int net_tls_handshake(struct net_tls *tls)
{
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(tls->ssl);
    if (rc != 1) {
        rc = judge(tls, rc);
        if (rc == NET_TLS_END)
            snprintf(tls->why, sizeof tls->why, "TLS: the peer ended the handshake");
        return rc == NET_TLS_END ? NET_TLS_FAILED : rc;
    }
    tls->done = true;
    return 1;
}

int net_tls_read(struct net_tls *tls, void *to, size_t len)
{
    int n;

    ERR_clear_error();
    n = SSL_read(tls->ssl, to, (int)len);
    return n > 0 ? n : judge(tls, n);
}

bool net_tls_write(struct net_tls *tls, const void *data, size_t len)
{
    int rc;

    ERR_clear_error();
    rc = SSL_write(tls->ssl, data, (int)len);
    if (rc == (int)len)
        return true;
    judge(tls, rc);
    return false;
}

void net_tls_say_end(struct net_tls *tls)
{
    ERR_clear_error();
    if (tls->done && !tls->why[0])
        SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

struct slice net_tls_pending(const struct net_tls *tls)
{
    char *data = NULL;
    long len = BIO_get_mem_data(tls->out, &data);

    return slice(data, len > 0 ? (size_t)len : 0);
}

void net_tls_consume(struct net_tls *tls, size_t len)
{
    char away[4096];

    if (len == net_tls_pending(tls).len) {
        (void)BIO_reset(tls->out);
        return;
    }
    while (len > 0) {
        int n = BIO_read(tls->out, away, (int)(len < sizeof away ? len : sizeof away));

        assert(n > 0);
        len -= (size_t)n;
    }
}

struct slice net_tls_alpn(const struct net_tls *tls)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    return slice(name, len);
}
