/* Which messages make a step, and what the report says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/causeway/steps.h"

static enum step hear(struct steps *s, enum leg leg, enum host from, struct heard h)
{
    struct watched w = {
        .leg = leg, .from = from, .to = from == HOST_MEET ? HOST_EDGE : HOST_MEET, .heard = h};
    enum step step = steps_hear(s, &w);
    if (step < STEP_COUNT) {
        s->done[step] = true;
    }
    return step;
}

static struct heard stun(enum heard_what what, uint16_t method, enum stun_class cls)
{
    return (struct heard){.what = what, .method = method, .cls = cls};
}

static void a_step_counts_on_its_own_leg_and_once(void **state)
{
    (void)state;
    struct steps s = {0};
    struct heard error = stun(HEARD_STUN, STUN_ALLOCATE, STUN_ERROR);
    struct heard good = stun(HEARD_STUN, STUN_ALLOCATE, STUN_SUCCESS);
    /* The client's own relay at the Skype Edge is not the meeting server's. */
    assert_int_equal(hear(&s, LEG_INSIDE, HOST_SKYPE, good), STEP_COUNT);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_EDGE, error), STEP_CHALLENGE);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_EDGE, good), STEP_RELAY);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_EDGE, good), STEP_COUNT);
}

static void checks_count_when_answered_both_ways(void **state)
{
    (void)state;
    struct steps s = {0};
    struct heard ask = stun(HEARD_FRAMED_STUN, STUN_BINDING, STUN_REQUEST);
    struct heard answer = stun(HEARD_FRAMED_STUN, STUN_BINDING, STUN_SUCCESS);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_EDGE, ask), STEP_COUNT);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_MEET, answer), STEP_COUNT);
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_EDGE, answer), STEP_COUNT); /* of nothing */
    assert_int_equal(hear(&s, LEG_MEDIA, HOST_MEET, ask), STEP_CHECKS);
}

static void only_a_share_is_an_invite_and_only_a_relay_an_answer(void **state)
{
    (void)state;
    struct steps s = {0};
    struct heard h = {.what = HEARD_SIP, .is_invite = true};
    assert_int_equal(hear(&s, LEG_SIP, HOST_SKYPE, h), STEP_COUNT);
    h.has_share = true;
    assert_int_equal(hear(&s, LEG_SIP, HOST_SKYPE, h), STEP_INVITE);
    h.status = 180;
    h.has_relay = true;
    assert_int_equal(hear(&s, LEG_SIP, HOST_MEET, h), STEP_COUNT);
    h.status = 200;
    h.has_relay = false;
    assert_int_equal(hear(&s, LEG_SIP, HOST_MEET, h), STEP_COUNT);
    h.has_relay = true;
    assert_int_equal(hear(&s, LEG_SIP, HOST_MEET, h), STEP_ANSWER);
}

static void the_report_has_what_was_seen(void **state)
{
    (void)state;
    char dir[] = "/tmp/causeway-test-XXXXXX", path[64], text[2048];
    assert_non_null(mkdtemp(dir));
    struct steps s = {0};
    s.done[STEP_INVITE] = s.done[STEP_PICTURE] = true;
    s.at_ms[STEP_INVITE] = 100;
    s.at_ms[STEP_PICTURE] = 990;
    struct steps_report r = {.ok = false, .why = "one \"thing\"", .psnr_db = 41.25};
    assert_int_equal(steps_write(&s, &r, dir), 0);
    (void)snprintf(path, sizeof path, "%s/result.json", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    assert_non_null(strstr(text, "\"ok\": false"));
    assert_non_null(strstr(text, "\"psnr_db\": 41.25"));
    assert_non_null(strstr(text, "\"first_picture_ms\": 890"));
    assert_non_null(strstr(text, "\"ms\": 990"));
    assert_non_null(strstr(text, "one \\\"thing\\\""));
    (void)unlink(path);
    (void)rmdir(dir);
    assert_int_equal(steps_write(&s, &r, dir), ERR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_counts_on_its_own_leg_and_once),
        cmocka_unit_test(checks_count_when_answered_both_ways),
        cmocka_unit_test(only_a_share_is_an_invite_and_only_a_relay_an_answer),
        cmocka_unit_test(the_report_has_what_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
