/* Users in an SQLite file with coturn's tables: a `turndb` works as it is. */
#pragma once

#include "run/user_store.h"

/* Opens `path` for reading. ERR_SYSTEM after a log line. */
MUST_USE int user_sqlite_new(struct user_store **out, struct loop *l, const struct log *log,
                             const char *path);

/* The same file from the other side: to change it by hand. */
struct user_file;

/* Makes the file and its tables when they are not there; made by root, the file belongs to the
 * folder's owner. On ERR_SYSTEM too there may be an
 * object, for user_file_why(). */
MUST_USE int user_file_open(struct user_file **out, const char *path);
void user_file_close(struct user_file *f);            /* NULL is fine */
const char *user_file_why(const struct user_file *f); /* of the last ERR_SYSTEM */

struct user_file_keys {
    struct stun_key md5, sha256;
};
/* Makes a user or gives him other keys. */
MUST_USE int user_file_put_user(struct user_file *f, struct slice realm, struct slice name,
                                const struct user_file_keys *keys);
/* ERR_NOTFOUND */
MUST_USE int user_file_del_user(struct user_file *f, struct slice realm, struct slice name);
MUST_USE int user_file_put_secret(struct user_file *f, struct slice realm, struct slice value);
MUST_USE int user_file_del_secret(struct user_file *f, struct slice realm, struct slice value);
/* Each user's name, or each secret, of the realm; in order. */
MUST_USE int user_file_each(struct user_file *f, enum user_ask what, struct slice realm,
                            void (*fn)(struct slice value, void *ctx), void *ctx);
/* Each row of coturn's tables denied_peer_ip, or else allowed_peer_ip, in the file at `path`, which
 * is only read. A file or table that is not there has no rows. ERR_SYSTEM: it cannot be read, or
 * somebody keeps it locked. */
MUST_USE int user_file_peers(const char *path, bool denied,
                             void (*fn)(struct slice realm, struct slice range, void *ctx),
                             void *ctx);
