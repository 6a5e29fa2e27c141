/* A set of byte strings that is searched in one pass over a text (Aho and Corasick). */
#ifndef WH_JOB_AUTOMATON_H
#define WH_JOB_AUTOMATON_H

#include "wherry/base/str.h"

struct wh_automaton;
/* Patterns must not be empty; they aren't needed after. */
struct wh_automaton *wh_automaton_new(const struct wh_view *patterns, size_t count);
void wh_automaton_free(struct wh_automaton *a);

/* Called for each place where patterns end: [start, end) is the longest one that ends there; ends ascend. */
typedef void (*wh_automaton_hit)(void *arg, size_t start, size_t end);
void wh_automaton_scan(const struct wh_automaton *a, const char *text, size_t len, wh_automaton_hit hit,
                       void *arg);

#endif
