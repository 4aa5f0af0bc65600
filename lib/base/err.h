/* Result codes of the whole tree: 0, or one of these. Never a size, never a pointer. */
#pragma once

#define MUST_USE __attribute__((warn_unused_result))

#define ERR_LIST(X)                                            \
    X(NOMEM, -1, "out of memory")                              \
    X(NOSPACE, -2, "output buffer too small")                  \
    X(SHORT, -3, "input ends too early")                       \
    X(MALFORMED, -4, "input breaks the grammar")               \
    X(UNSUPPORTED, -5, "well formed, but not something we do") \
    X(AUTH, -6, "integrity check failed")                      \
    X(LIMIT, -7, "a configured limit was reached")             \
    X(NOTFOUND, -8, "no such object")                          \
    X(BADSTATE, -9, "not allowed in this state")               \
    X(SYSTEM, -10, "the operating system refused")

#define ERR_ENUM_(name, number, text) ERR_##name = (number),
enum err {
    OK = 0,
    ERR_LIST(ERR_ENUM_)
};
#undef ERR_ENUM_

/* The text of `err` for a log line; never NULL. */
const char *err_text(int err);
