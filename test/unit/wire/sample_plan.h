/* A plan with a value of its own in each field: what both protocols are asked to write. */
#ifndef TEST_SAMPLE_PLAN_H
#define TEST_SAMPLE_PLAN_H

#include "core/api.h"

static inline struct qv_plan_out sample_plan(void)
{
    return (struct qv_plan_out){.way = "bridges",
                                .answered = "scan",
                                .why = "so",
                                .filter_by = "index",
                                .points = 9,
                                .passing = 5,
                                .passing_min = 4,
                                .passing_max = 6,
                                .payloads_read = 2,
                                .ef = 100,
                                .ranked = 20,
                                .distances = 300,
                                .hops = 40,
                                .bridges = 50,
                                .waiting = 7,
                                .planned = true,
                                .cost_us = {0.5, 1.5, 2.5, 3.5}};
}

#endif
