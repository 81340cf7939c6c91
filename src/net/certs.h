// SPDX-License-Identifier: Apache-2.0
/* For tests: an authority made on the spot, and certificates of its own, as files in a directory
 * that goes with it. */
#ifndef NET_CERTS_H
#define NET_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "net/testing.h"

struct authority {
    char dir[32];
    char ca_file[64], cert_file[64], key_file[64]; /* the last two: of the last certificate */
    EVP_PKEY *key;
    X509 *cert;
};

static inline void certs_write(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    if (cert)
        assert_int_equal(PEM_write_X509(file, cert), 1);
    if (key)
        assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static inline void certs_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/* `names` as in "DNS:localhost,IP:127.0.0.1"; NULL: an authority. Valid from a day before `end_s`
 * (from now) or from an hour ago, whichever is earlier. */
static inline X509 *certs_make(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *names,
                               long end_s)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), names ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), (end_s < 0 ? end_s : 0) - 3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), end_s);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)(names ? "test" : "test authority"), -1, -1,
                               0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    certs_extend(cert, issuer ? issuer : cert, NID_basic_constraints,
                 names ? "CA:FALSE" : "critical,CA:TRUE");
    if (names)
        certs_extend(cert, issuer, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

static inline void authority_init(struct authority *a)
{
    snprintf(a->dir, sizeof a->dir, "/tmp/net-test-XXXXXX");
    assert_non_null(mkdtemp(a->dir));
    snprintf(a->ca_file, sizeof a->ca_file, "%s/ca.pem", a->dir);
    snprintf(a->cert_file, sizeof a->cert_file, "%s/cert.pem", a->dir);
    snprintf(a->key_file, sizeof a->key_file, "%s/key.pem", a->dir);
    a->key = EVP_EC_gen("P-256");
    a->cert = certs_make(a->key, NULL, a->key, NULL, 3600);
    certs_write(a->ca_file, a->cert, NULL);
}

static inline void authority_issue(struct authority *a, const char *names, long end_s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certs_make(key, a->cert, a->key, names, end_s);

    certs_write(a->cert_file, cert, NULL);
    certs_write(a->key_file, NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void authority_finish(struct authority *a)
{
    if (!a->dir[0])
        return;
    unlink(a->ca_file);
    unlink(a->cert_file);
    unlink(a->key_file);
    rmdir(a->dir);
    X509_free(a->cert);
    EVP_PKEY_free(a->key);
}

#endif
