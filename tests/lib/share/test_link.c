/* cmocka.h needs the four before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>

#include "lib/share/link.h"

static uint8_t pixels[LINK_CURSOR_MAX * LINK_CURSOR_MAX * 4];

/* One of each type, at the edges of what is allowed. */
static size_t samples(struct link_msg *m)
{
    size_t n = 0;
    m[n++] = (struct link_msg){.type = LINK_SIZE, .width = 1, .height = 1};
    m[n++] = (struct link_msg){
        .type = LINK_SIZE, .width = LINK_WIDTH_MAX, .height = LINK_HEIGHT_MAX};
    m[n++] = (struct link_msg){
        .type = LINK_DAMAGE,
        .seq = 0xfffefdfc,
        .n_rects = 2,
        .rect = {{.x = 0, .y = 0, .w = LINK_WIDTH_MAX, .h = LINK_HEIGHT_MAX},
                 {.x = LINK_WIDTH_MAX - 1, .y = LINK_HEIGHT_MAX - 1, .w = 1, .h = 1}}
    };
    m[n] = (struct link_msg){.type = LINK_DAMAGE, .seq = 1, .n_rects = LINK_RECTS_MAX};
    for (uint16_t i = 0; i < LINK_RECTS_MAX; i++) {
        m[n].rect[i] = (struct rect){.x = i, .y = 2, .w = 300, .h = (uint16_t)(i + 1)};
    }
    n++;
    m[n++] = (struct link_msg){.type = LINK_CURSOR};
    m[n++] = (struct link_msg){.type = LINK_CURSOR,
                               .width = 2,
                               .height = 3,
                               .x = 1,
                               .y = 2,
                               .pixels = slice_of(pixels, 24)};
    m[n++] = (struct link_msg){.type = LINK_CURSOR,
                               .width = LINK_CURSOR_MAX,
                               .height = LINK_CURSOR_MAX,
                               .pixels = slice_of(pixels, sizeof pixels)};
    m[n++] = (struct link_msg){.type = LINK_POINTER, .x = LINK_WIDTH_MAX - 1, .y = 0x0102};
    m[n++] = (struct link_msg){.type = LINK_STATE, .state = LINK_CONNECTING};
    m[n++] = (struct link_msg){
        .type = LINK_STATE, .state = LINK_PAUSED, .text = slice_str("the sharer paused ~")};
    m[n++] = (struct link_msg){.type = LINK_GONE, .text = slice_str("the sharer left")};
    m[n++] = (struct link_msg){.type = LINK_ACK, .seq = 0x01020304};
    return n;
}

static void assert_same(const struct link_msg *a, const struct link_msg *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->x, b->x);
    assert_int_equal(a->y, b->y);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->n_rects, b->n_rects);
    assert_memory_equal(a->rect, b->rect, sizeof a->rect);
    assert_true(slice_eq(a->text, b->text));
    assert_true(slice_eq(a->pixels, b->pixels));
}

/* Parses a copy that ends where its memory ends, so that one byte too far is seen. */
static int parse_exact(struct link_msg *out, const uint8_t *p, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, p, len);
    int err = link_parse(out, slice_of(copy, len));
    free(copy);
    return err;
}

static uint8_t buf[LINK_MESSAGE_MAX];

static struct slice put(const struct link_msg *m)
{
    struct wr w = wr_over(buf, sizeof buf);
    link_put(&w, m);
    assert_int_equal(w.err, 0);
    return wr_done(&w);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct link_msg m[16], back;
    size_t n = samples(m);
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 7);
    }
    for (size_t i = 0; i < n; i++) {
        struct slice s = put(&m[i]);
        assert_int_equal(link_parse(&back, s), 0);
        assert_same(&back, &m[i]);
    }
}

static void test_bytes_on_the_wire(void **state)
{
    (void)state;
    const struct link_msg m = {.type = LINK_DAMAGE,
                               .seq = 0x01020304,
                               .n_rects = 1,
                               .rect = {{.x = 0x0506, .y = 0x0708, .w = 0x090a, .h = 0x0b}}};
    static const uint8_t want[] = {2, 1, 2, 3, 4, 1, 5, 6, 7, 8, 9, 10, 0, 11};
    assert_true(slice_eq(put(&m), slice_of(want, sizeof want)));
}

/* Text has no length of its own, so a cut text is another text; all else must be noticed. */
static void test_every_truncation(void **state)
{
    (void)state;
    struct link_msg m[16], back;
    size_t n = samples(m);
    for (size_t i = 0; i < n; i++) {
        struct slice s = put(&m[i]);
        size_t fixed = s.len - m[i].text.len;
        size_t step = s.len > 4096 ? 97 : 1;
        for (size_t len = 0; len < fixed; len += step) {
            assert_int_equal(parse_exact(&back, s.p, len), ERR_MALFORMED);
        }
        assert_int_equal(parse_exact(&back, s.p, fixed - 1), ERR_MALFORMED);
    }
}

static void test_bytes_after_the_end(void **state)
{
    (void)state;
    struct link_msg m[16], back;
    size_t n = samples(m);
    for (size_t i = 0; i < n; i++) {
        struct slice s = put(&m[i]);
        if (m[i].type == LINK_GONE || m[i].type == LINK_STATE || s.len == sizeof buf) {
            continue;
        }
        buf[s.len] = 0;
        assert_int_equal(parse_exact(&back, buf, s.len + 1), ERR_MALFORMED);
    }
}

static void test_every_output_too_small(void **state)
{
    (void)state;
    struct link_msg m[16];
    size_t n = samples(m);
    for (size_t i = 0; i < n; i++) {
        size_t len = put(&m[i]).len;
        size_t step = len > 4096 ? 97 : 1;
        for (size_t cap = 0; cap < len; cap += step) {
            uint8_t *out = malloc(cap ? cap : 1);
            struct wr w = wr_over(out, cap);
            link_put(&w, &m[i]);
            assert_int_equal(w.err, ERR_NOSPACE);
            free(out);
        }
    }
}

/* What must not be written, and not be believed when a broken viewer writes it. */
static void test_values_out_of_range(void **state)
{
    (void)state;
    static uint8_t long_text[201];
    memset(long_text, 'a', sizeof long_text);
    const struct link_msg bad[] = {
        {.type = LINK_SIZE,                                .width = 0, .height = 1},
        {.type = LINK_SIZE,                                     .width = 1, .height = 0},
        {.type = LINK_SIZE,                                .width = LINK_WIDTH_MAX + 1, .height = 1},
        {.type = LINK_SIZE,                                     .width = 1, .height = LINK_HEIGHT_MAX + 1},
        {.type = LINK_DAMAGE,                                .n_rects = 0},
        {.type = LINK_DAMAGE,                                     .n_rects = LINK_RECTS_MAX + 1},
        {.type = LINK_DAMAGE,                                .n_rects = 1, .rect = {{.w = 0, .h = 1}}},
        {.type = LINK_DAMAGE,                   .n_rects = 1, .rect = {{.w = 1, .h = 0}}},
        {.type = LINK_DAMAGE,                              .n_rects = 1, .rect = {{.x = LINK_WIDTH_MAX, .w = 1, .h = 1}}},
        {.type = LINK_DAMAGE,                                                .n_rects = 1, .rect = {{.y = 0xffff, .w = 1, .h = 0xffff}}},
        {.type = LINK_CURSOR,.width = 1},
        {.type = LINK_CURSOR,                              .x = 1},
        {.type = LINK_CURSOR,
         .width = 1,
         .height = LINK_CURSOR_MAX + 1,
         .pixels = slice_of(pixels, (LINK_CURSOR_MAX + 1) * 4)},
        {.type = LINK_CURSOR,                              .width = 1, .height = 1, .x = 1, .pixels = slice_of(pixels, 4)},
        {.type = LINK_POINTER,                      .x = LINK_WIDTH_MAX},
        {.type = LINK_POINTER,                              .y = LINK_HEIGHT_MAX},
        {.type = LINK_STATE, .state = (enum link_state)(LINK_PAUSED + 1)},
        {.type = LINK_GONE,                              .text = slice_of(long_text, sizeof long_text)},
        {.type = LINK_GONE,    .text = slice_of("\n", 1)},
        {.type = LINK_STATE,                              .text = slice_of("\x7f", 1)},
        {.type = (enum link_type)0                                               },
        {.type = (enum link_type)(LINK_ACK + 1)            },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wr w = wr_over(buf, sizeof buf);
        link_put(&w, &bad[i]);
        assert_int_equal(w.err, ERR_MALFORMED);
        assert_int_equal(w.len, 0);
    }
}

/* The same over the wire: bytes a broken viewer could send. */
static void test_hostile_bytes(void **state)
{
    (void)state;
    static const struct {
        uint8_t len, b[16];
    } bad[] = {
        {5,  {LINK_SIZE, 0, 0, 0, 1}                                },
        {5,  {LINK_SIZE, 0x0f, 0x01, 0, 1}                          },
        {6,  {LINK_DAMAGE, 0, 0, 0, 0, 0}                           },
        {14, {LINK_DAMAGE, 0, 0, 0, 0, 1, 0x0f, 0, 0, 0, 0, 1, 0, 1}},
        {14, {LINK_DAMAGE, 0, 0, 0, 0, 65, 0, 0, 0, 0, 0, 1, 0, 1}  },
        {14, {LINK_DAMAGE, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 1, 0, 1} },
        {9,  {LINK_CURSOR, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}      },
        {2,  {LINK_STATE, 3}                                        },
        {1,  {0}                                                    },
        {5,  {LINK_ACK + 1, 0, 0, 0, 0}                             },
        {2,  {LINK_GONE, 0x0a}                                      },
        {2,  {LINK_GONE, 0x80}                                      },
    };
    struct link_msg m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse_exact(&m, bad[i].b, bad[i].len), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes_on_the_wire),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_bytes_after_the_end),
        cmocka_unit_test(test_every_output_too_small),
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
