/* Lists of words that carry no meaning of their own, by language. The lists are Snowball's, as
 * Debian's liblingua-stopwords-perl has them; tools/stop_words makes the tables from it at build
 * time. Constant; any thread. */
#ifndef QV_TEXT_STOP_WORDS_H
#define QV_TEXT_STOP_WORDS_H

#include "base/str.h"

struct qv_stop_list {
    const char *language;     /* "english" */
    const char *code;         /* "en" */
    const char *const *words; /* lower case */
    size_t count;
};
extern const struct qv_stop_list qv_stop_lists[];
extern const size_t qv_stop_list_count;

/* By either name, in any case of ASCII letters. NULL: there is none. */
const struct qv_stop_list *qv_stop_list_find(struct qv_str name);

#endif
