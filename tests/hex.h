/* Bytes written as hexadecimal digits, blanks between them ignored. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (; *hex; hex++) {
        const char *d = strchr(digits, *hex);
        if (d && n < 2 * cap) {
            out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | (d - digits) : d - digits);
            n++;
        }
    }
    return n / 2;
}
