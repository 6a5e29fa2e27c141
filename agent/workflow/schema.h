/* What may stand where in a workflow file: one table for `wherry lint` and for whoever reads the file to run
 * it. It says what the service accepts (job-execution.md §2.7, §11; its names are those of the
 * documentation). */
#ifndef WH_WORKFLOW_SCHEMA_H
#define WH_WORKFLOW_SCHEMA_H

#include "wherry/job/expr.h"

enum wf_form {
    WF_NULL = 1 << 0,
    WF_STRING = 1 << 1, /* any text that is not empty; plain numbers and booleans are texts there, too */
    WF_EMPTY = 1 << 2,  /* and the empty one (and null) */
    WF_BOOL = 1 << 3,
    WF_NUMBER = 1 << 4,
    WF_SEQUENCE = 1 << 5,
    WF_MAPPING = 1 << 6,
    WF_IF = 1 << 7,     /* the text is an expression (§2.7 `if`) */
    WF_ANY = 1 << 8,    /* whatever */
    WF_JOB = 1 << 10,   /* a job: what is below belongs to it */
    WF_STEP = 1 << 11,  /* a step of it */
    WF_LOOSE = 1 << 12, /* the words grow at GitHub: another one is told, and refuses no run */
};
#define WF_TEXT (WF_STRING | WF_EMPTY)

#define WF_INHERIT (-1) /* the place of the value around it */
#define WF_LITERAL (-2) /* no expressions */

struct wf_key {
    const char *name;
    const struct wf_type *type;
    bool required;
};

struct wf_type {
    unsigned forms;               /* of enum wf_form */
    int place;                    /* enum wh_place, or WF_INHERIT, WF_LITERAL */
    const struct wf_key *keys;    /* MAPPING: those with a meaning, up to one without a name */
    const struct wf_type *others; /* MAPPING: values of any other key; NULL: there may be none */
    const struct wf_type *item;   /* SEQUENCE */
    const char *const *words;     /* STRING: one of these, up to NULL; NULL: any */
    const char *variant_key;      /* MAPPING: with this key it is of type variant instead */
    const struct wf_type *variant;
};

/* The whole file. */
extern const struct wf_type wf_workflow;
/* Its parts for readers of pieces. */
extern const struct wf_type wf_on, wf_job, wf_step;
/* Names of the events, up to NULL. */
extern const char *const wf_events[];

#endif
