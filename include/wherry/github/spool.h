/* Where the logs of one job wait for their upload (docs/protocol.md, "The spool").
 *
 * A spool is a folder that one job owns. All lines of the job lie in one stream, cut into segment files; a
 * step's log is a list of extents of it, so each byte is written once though two logs hold it. What was
 * uploaded is freed a segment at a time, and a journal says whose bytes are whose and how far each upload
 * came: when the process dies at any instant, another one can open the folder and go on. Texts that are whole
 * from the start (summaries, diagnostics) lie in files of their own.
 *
 * The folder may belong to the user that the job's code runs as, so its content is read as hostile bytes: a
 * wrong journal can spoil this job's logs and nothing else. Not thread-safe. */
#ifndef WH_GITHUB_SPOOL_H
#define WH_GITHUB_SPOOL_H

#include "wherry/base/json.h"

#define WH_SPOOL_SEGMENT ((uint64_t)8 << 20)     /* bytes of a file; less where the bound is small */
#define WH_SPOOL_BYTES ((uint64_t)2 << 30)       /* default bound of what may wait on disk */
#define WH_SPOOL_LEAST ((uint64_t)16 << 20)      /* a smaller bound counts as this */
#define WH_SPOOL_KEEP_FREE ((uint64_t)256 << 20) /* default: the disk is never filled beyond this */
#define WH_MAX_SPOOL_LOGS 20000                  /* more are refused (WH_E_LIMIT) */
#define WH_MAX_SPOOL_FILE ((size_t)64 << 20)     /* of a summary or of diagnostics */
#define WH_MAX_SPOOL_JOURNAL ((size_t)64 << 20)

/* Below a runner's work folder; a spool's name in it is the job's id. */
#define WH_SPOOL_FOLDER "_diag/spool"

struct wh_spool;

struct wh_spool_options {
    uint64_t max_bytes; /* 0: WH_SPOOL_BYTES */
    uint64_t keep_free; /* 0: WH_SPOOL_KEEP_FREE */
    unsigned consumers; /* set of WH_SPOOL_BLOB, WH_SPOOL_PAGE: who will read the logs */
};
enum wh_spool_consumer { WH_SPOOL_BLOB, WH_SPOOL_PAGE, WH_SPOOL_CONSUMERS };

enum wh_spool_kind { WH_SPOOL_JOB_LOG, WH_SPOOL_STEP_LOG, WH_SPOOL_SUMMARY, WH_SPOOL_DIAGNOSTICS };

/* Makes the folder (its parent exists) and takes it over; what is in it goes. */
struct wh_spool *wh_spool_create(const char *folder, const struct wh_spool_options *options,
                                 struct wh_error *err);
/* Opens what a process left that died. WH_E_NOT_FOUND: there is none; WH_E_CORRUPT: it is none of ours. */
struct wh_spool *wh_spool_open(const char *folder, const struct wh_spool_options *options,
                               struct wh_error *err);
void wh_spool_free(struct wh_spool *s);   /* the folder stays. NULL is fine */
void wh_spool_delete(struct wh_spool *s); /* the folder goes too */

/* ---- logs; numbered from 0 in the order of their making. Number 0 is the job's, and always there ---- */
#define WH_SPOOL_JOB 0
size_t wh_spool_count(const struct wh_spool *s);
/* A new log of a step. Its number, or negative. */
int wh_spool_log(struct wh_spool *s, const char *step_id, struct wh_error *err);
/* A text that is whole: a summary (of a step) or diagnostics (name is the file's). Its number, or negative.
 */
int wh_spool_text(struct wh_spool *s, enum wh_spool_kind kind, const char *step_id, const char *name,
                  const char *data, size_t len, struct wh_error *err);
/* Whole lines, each ended by LF, to the log and to the job's. Negative: nothing of it is there (the bound, or
 * the disk is full: WH_E_NO_SPACE). `over`: the bound does not hold for this (the runner's own few words). */
int wh_spool_write(struct wh_spool *s, int log, const char *data, size_t len, uint64_t lines, bool over,
                   struct wh_error *err);
void wh_spool_end(struct wh_spool *s, int log); /* no more lines; 0 ends all that are open */

enum wh_spool_kind wh_spool_kind_of(const struct wh_spool *s, int log);
const char *wh_spool_step_id(const struct wh_spool *s, int log); /* NULL for the job's; borrowed */
const char *wh_spool_name(const struct wh_spool *s, int log);    /* of a text; borrowed */
uint64_t wh_spool_size(const struct wh_spool *s, int log);
uint64_t wh_spool_lines(const struct wh_spool *s, int log);
bool wh_spool_ended(const struct wh_spool *s, int log);
/* Bytes at pos of the log, as many as lie together, at most cap. 0 at its present end. */
ssize_t wh_spool_read(struct wh_spool *s, int number, uint64_t pos, char *buf, size_t cap,
                      struct wh_error *err);

/* ---- how far an upload came; kept over a death ---- */
struct wh_spool_mark {
    uint64_t pos;   /* bytes below are uploaded and may be freed */
    unsigned flags; /* the consumer's own */
    int64_t value;  /* the consumer's own */
    bool done;      /* nothing more is wanted of this log: uploaded, or given up */
};
struct wh_spool_mark wh_spool_mark(const struct wh_spool *s, int log, enum wh_spool_consumer consumer);
void wh_spool_set_mark(struct wh_spool *s, int number, enum wh_spool_consumer consumer,
                       const struct wh_spool_mark *mark);

/* ---- states of steps: the latest of each id, in the order of their coming ---- */
void wh_spool_note_step(struct wh_spool *s, const cJSON *step); /* an object with a string "id"; copied */
const cJSON *wh_spool_steps(const struct wh_spool *s);          /* an array; borrowed */

/* ---- the bound ---- */
/* True: time to stop, though what one turn of the loop still brings fits. It is asked for often: cheap, and
 * the disk is looked at now and then. */
bool wh_spool_full(struct wh_spool *s);
uint64_t wh_spool_waiting(const struct wh_spool *s); /* bytes on disk */

#endif
