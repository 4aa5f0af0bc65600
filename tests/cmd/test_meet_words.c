/* Names as callers send them, and what becomes of them. */
#include "cmd/meet/words.h"

#include "tests/unit.h"

static void expect(const char *name, const char *uri, size_t cap, const char *want)
{
    char *out = malloc(cap); /* to the byte */
    assert_non_null(out);
    sharer_text(out, cap, slice_str(name), slice_str(uri));
    assert_string_equal(out, want);
    free(out);
}

static void names(void **state)
{
    (void)state;
    expect("Alice", "sip:a@b", 128, "Alice");
    expect("Zo\xc3\xab \xe5\xb1\xb1 \xf0\x9f\x98\x80", "", 128,
           "Zo\xc3\xab \xe5\xb1\xb1 \xf0\x9f\x98\x80");
    expect("O\\\"Hara \\\\ Co", "sip:a@b", 128, "O\"Hara \\ Co");
    expect("a\x01\x1b[31mb\x7f\xc2\x85", "", 128, "a[31mb");
    expect("a\xe2\x80\xaez\xe2\x81\xa9", "", 128, "az"); /* turns the direction */
    expect("<b>x</b>", "", 128, "<b>x</b>");             /* text to the page, not markup */
    expect("end\\", "", 128, "end\\");
}

static void not_utf8(void **state)
{
    (void)state;
    expect("Zo\xeb!", "", 128, "Zo?!");
    expect("\xc0\xaf", "", 128, "??"); /* too long a form */
    expect("\xe0\x80\xaf", "", 128, "???");
    expect("\xed\xa0\x80", "", 128, "???");      /* a surrogate */
    expect("\xf4\x90\x80\x80", "", 128, "????"); /* past U+10FFFF */
    expect("\xf8\x88\x80\x80\x80", "", 128, "?????");
    expect("a\xe5\xb1", "", 128, "a??"); /* cut short */
}

static void addresses(void **state)
{
    (void)state;
    expect("", "sip:alice@sfb.example;opaque=user:epid:x;gruu", 128, "alice@sfb.example");
    expect("", "sips:alice@sfb.example", 128, "alice@sfb.example");
    expect("  \x01", "sip:alice@sfb.example", 128, "alice@sfb.example");
    expect("", "tel:+15551234", 128, "tel:+15551234");
    expect("", "", 128, "");
}

static void cuts(void **state)
{
    (void)state;
    expect("abcdef", "", 4, "abc");
    expect("ab\xe5\xb1\xb1", "", 5, "ab");
    expect("ab\xe5\xb1\xb1", "", 6, "ab\xe5\xb1\xb1");
    expect("a", "sip:b", 1, "");
}

static void sentences(void **state)
{
    static const struct {
        size_t cap;
        const char *in, *out;
    } c[] = {
        {64, "the sharer left",  "The sharer left."},
        {64, "It ended. Sorry!", "It ended. Sorry!"},
        {64, "RDP ended",        "RDP ended."      },
        {64, "",                 ""                },
        {6,  "abcdefgh",         "Abcd."           },
        {3,  "a",                "A."              },
    };
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        char *out = malloc(c[i].cap);
        assert_non_null(out);
        sentence(out, c[i].cap, c[i].in);
        assert_string_equal(out, c[i].out);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(not_utf8),  cmocka_unit_test(addresses),
        cmocka_unit_test(cuts),  cmocka_unit_test(sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
