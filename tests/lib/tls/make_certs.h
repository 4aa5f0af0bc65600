/* Certificates made for one test run, in a folder of its own. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct certs {
    char dir[64];
    char cert[96], key[96], other[96],
        other_key[96]; /* self-signed, for the name "localhost" */
};

static inline bool certs_run_(const char *cert, const char *key)
{
    char command[512];
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        "-out %s -keyout %s 2>/dev/null",
        cert, key);
    return system(command) == 0;
}

static inline bool certs_make(struct certs *c)
{
    snprintf(c->dir, sizeof c->dir, "/tmp/causeway-test-XXXXXX");
    if (!mkdtemp(c->dir)) {
        return false;
    }
    snprintf(c->cert, sizeof c->cert, "%s/cert.pem", c->dir);
    snprintf(c->key, sizeof c->key, "%s/key.pem", c->dir);
    snprintf(c->other, sizeof c->other, "%s/other.pem", c->dir);
    snprintf(c->other_key, sizeof c->other_key, "%s/other-key.pem", c->dir);
    return certs_run_(c->cert, c->key) && certs_run_(c->other, c->other_key);
}

static inline void certs_remove(const struct certs *c)
{
    unlink(c->cert);
    unlink(c->key);
    unlink(c->other);
    unlink(c->other_key);
    rmdir(c->dir);
}
