/* The head that every JSON output of the project has: schema, commit, machine, seconds. */
#ifndef QV_TEST_REPORT_H
#define QV_TEST_REPORT_H

#include <jansson.h>

json_t *report_begin(const char *schema, double seconds); /* gives */
/* Prints it and, when out is not NULL, writes it there; takes j. 0, or -1. */
int report_end(json_t *j, const char *out);

#endif
