/* YAML 1.2, one document as a bounded tree with positions: workflow files (job-execution.md §11.1),
 * action.yml, configuration files, CDI specifications.
 */
#ifndef WH_BASE_YAML_H
#define WH_BASE_YAML_H

#include "wherry/base/str.h"

#define WH_MAX_YAML_BYTES ((size_t)1 << 20)
#define WH_MAX_YAML_NODES 100000u /* aliases count as what they stand for when the tree is walked */
#define WH_MAX_YAML_DEPTH 50u

enum wh_yaml_kind { WH_YAML_SCALAR, WH_YAML_SEQUENCE, WH_YAML_MAPPING };

struct wh_yaml {
    enum wh_yaml_kind kind;
    unsigned line, col;     /* from 1 */
    char *text;             /* scalar; owned */
    bool plain;             /* neither quoted nor block: the core schema gives its type */
    char *tag;              /* explicit "!!str" ... as "str"; NULL. Owned */
    struct wh_yaml **items; /* sequence: items; mapping: key, value, key, value */
    size_t nitems, cap;
};

/* Owns all nodes. An alias is the anchored node itself, so nodes may be reached twice: the tree is read-only.
 */
struct wh_yaml_doc {
    struct wh_yaml *root; /* NULL: an empty document */
    struct wh_yaml **nodes;
    size_t nnodes, cap;
};
/* name: for messages: "name (Line: 3, Col: 7): ..." */
int wh_yaml_parse(const char *text, size_t len, const char *name, struct wh_yaml_doc *out,
                  struct wh_error *err);
void wh_yaml_doc_free(struct wh_yaml_doc *doc);
#define wh_autoyaml __attribute__((cleanup(wh_yaml_doc_free))) struct wh_yaml_doc

/* A value of a mapping by its key (any case, as the service reads); NULL. */
const struct wh_yaml *wh_yaml_get(const struct wh_yaml *map, const char *key);

/* What a scalar is in the core schema. */
enum wh_yaml_type { WH_YAML_STRING, WH_YAML_BOOL, WH_YAML_NUMBER, WH_YAML_NULL };
struct wh_yaml_value {
    enum wh_yaml_type type;
    bool boolean;
    double number;
};
/* false: an explicit tag that does not fit the text, or that is none of str, bool, int, float, null. */
bool wh_yaml_value(const struct wh_yaml *scalar, struct wh_yaml_value *out);

#endif
