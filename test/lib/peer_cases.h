/* What every implementation of core/peer.h must do. */
#ifndef QV_TEST_PEER_CASES_H
#define QV_TEST_PEER_CASES_H

#include "peer_world.h"

/* state: a peer_world_make_f **, by way of cmocka's initial state. */
void peer_case_echo(void **state);
void peer_case_answers(void **state);
void peer_case_not_there(void **state);
void peer_case_deadline(void **state);
void peer_case_cancel(void **state);
void peer_case_kill(void **state);
void peer_case_strangers(void **state);
void peer_case_versions(void **state);
void peer_case_limits(void **state);
void peer_case_large(void **state);
void peer_case_moved(void **state);
void peer_case_stop(void **state);
void peer_case_random(void **state);

#define PEER_CASES(make)                                                                           \
    cmocka_unit_test_prestate(peer_case_echo, make),                                               \
        cmocka_unit_test_prestate(peer_case_answers, make),                                        \
        cmocka_unit_test_prestate(peer_case_not_there, make),                                      \
        cmocka_unit_test_prestate(peer_case_deadline, make),                                       \
        cmocka_unit_test_prestate(peer_case_cancel, make),                                         \
        cmocka_unit_test_prestate(peer_case_kill, make),                                           \
        cmocka_unit_test_prestate(peer_case_strangers, make),                                      \
        cmocka_unit_test_prestate(peer_case_versions, make),                                       \
        cmocka_unit_test_prestate(peer_case_limits, make),                                         \
        cmocka_unit_test_prestate(peer_case_large, make),                                          \
        cmocka_unit_test_prestate(peer_case_moved, make),                                          \
        cmocka_unit_test_prestate(peer_case_stop, make),                                           \
        cmocka_unit_test_prestate(peer_case_random, make)

#endif
