/* strategy.matrix to its rows (job-execution.md §11.4): the cross product of its vectors, `exclude` and
 * `include` to the letter of the service's own algorithm. */
#ifndef WH_WORKFLOW_MATRIX_H
#define WH_WORKFLOW_MATRIX_H

#include "wherry/job/value.h"

#define WH_MAX_MATRIX_ROWS 256u        /* jobs of one matrix */
#define WH_MAX_MATRIX_PRODUCT 1000000u /* combinations before `exclude` */

struct wh_matrix_row {
    struct wh_value *values; /* the matrix context; owned */
    char *suffix;            /* "ubuntu, 18": what its name gets in parentheses; "" if nothing. Owned */
};
struct wh_matrix {
    struct wh_matrix_row *rows;
    size_t nrows;
    char *at; /* after an error: the key of the matrix that it is about; NULL: the whole. Owned */
};
/* matrix: evaluated, an object. The error has no place: *at helps to find it. An empty product (everything
 * excluded) gives no rows and is no error. */
int wh_matrix_expand(const struct wh_value *matrix, struct wh_matrix *out, struct wh_error *err);
void wh_matrix_clear(struct wh_matrix *m);

#endif
