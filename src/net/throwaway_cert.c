#include "net/throwaway_cert.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define CERT_HOUR_SEC 3600L
#define CERT_DAY_SEC 86400L

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool good = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return good;
}

static bool set_serial(X509 *x)
{
    BIGNUM *n = BN_new();
    bool good = n != NULL && BN_rand(n, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return good;
}

static bool fill(X509 *x, EVP_PKEY *key, const struct qv_throwaway_cert *c, X509 *issuer)
{
    bool fixed = c->begin_sec != 0 || c->end_sec != 0;
    X509_NAME *name = X509_get_subject_name(x);
    issuer = issuer != NULL ? issuer : x;
    return X509_set_version(x, 2) == 1 && set_serial(x) &&
           X509_gmtime_adj(X509_getm_notBefore(x), fixed ? c->begin_sec : -CERT_HOUR_SEC) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x), fixed ? c->end_sec : CERT_DAY_SEC) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)c->name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(x, key) == 1 &&
           add_extension(x, issuer, NID_basic_constraints,
                         c->ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
           (c->alt_names == NULL || add_extension(x, issuer, NID_subject_alt_name, c->alt_names));
}

static X509 *read_cert(const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static bool write_files(X509 *x, EVP_PKEY *key, const char *cert_path, const char *key_path)
{
    BIO *cert = BIO_new_file(cert_path, "w");
    BIO *keys = BIO_new_file(key_path, "w");
    bool good = cert != NULL && keys != NULL && PEM_write_bio_X509(cert, x) == 1 &&
                PEM_write_bio_PrivateKey(keys, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                BIO_flush(cert) == 1 && BIO_flush(keys) == 1;
    BIO_free(cert);
    BIO_free(keys);
    return good;
}

int qv_throwaway_cert_make(const struct qv_throwaway_cert *c, const char *cert_path,
                           const char *key_path, struct qv_errmsg *msg)
{
    bool signs_itself = c->issuer_cert_path == NULL;
    X509 *issuer = signs_itself ? NULL : read_cert(c->issuer_cert_path);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *signer = signs_itself ? key : read_key(c->issuer_key_path);
    X509 *x = X509_new();
    int err = 0;
    if (x == NULL || key == NULL || signer == NULL || (issuer == NULL && !signs_itself) ||
        !fill(x, key, c, issuer) || X509_sign(x, signer, EVP_sha256()) == 0)
        err = qv_fail(msg, QV_EINVAL, "no certificate can be made for '%s'", c->name);
    else if (!write_files(x, key, cert_path, key_path))
        err = qv_fail(msg, QV_EIO, "%s and its key can't be written", cert_path);
    if (signer != key)
        EVP_PKEY_free(signer);
    EVP_PKEY_free(key);
    X509_free(issuer);
    X509_free(x);
    ERR_clear_error();
    return err;
}
