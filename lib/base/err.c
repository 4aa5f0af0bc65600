/* Texts of the result codes. */
#include "lib/base/err.h"

const char *err_text(int err)
{
#define ERR_CASE_(name, number, text) \
    case number: return text;
    switch (err) {
    case OK: return "ok"; ERR_LIST(ERR_CASE_)
    default: return "unknown error";
    }
#undef ERR_CASE_
}
