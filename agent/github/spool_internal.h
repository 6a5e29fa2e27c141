/* A spool inside: the stream and its segments, logs as extents, the journal. */
#ifndef WH_GITHUB_SPOOL_INTERNAL_H
#define WH_GITHUB_SPOOL_INTERNAL_H

#include "wherry/github/spool.h"

#define SPOOL_VERSION 1
#define SPOOL_JOURNAL "journal"

struct spool_extent {
    uint64_t at;   /* in the log */
    uint64_t from; /* in the stream */
    uint64_t len;
};
struct spool_segment { /* file "stream.<from in hex>" */
    uint64_t from;
    uint64_t len;
};

struct spool_log {
    enum wh_spool_kind kind;
    char *step_id;
    char *name;
    struct spool_extent *extents; /* of a step's log; the job's is the stream itself */
    size_t nextents, cap;
    uint64_t size, lines;
    bool ended;
    struct wh_spool_mark marks[WH_SPOOL_CONSUMERS];
};

struct wh_spool {
    char *folder;
    int dir;
    struct wh_spool_options options;
    int journal;
    struct spool_segment *segments; /* that are on disk, in order */
    size_t nsegments, segments_cap;
    int out;          /* the last segment, open for both; -1: none yet */
    uint64_t written; /* end of the stream */
    struct spool_log *logs;
    size_t nlogs, logs_cap;
    size_t first_wanted; /* logs below it are done for everybody */
    int current;         /* whose lines are written now */
    uint64_t text_bytes;
    cJSON *steps;

    int in; /* a segment that was read from; -1: none */
    uint64_t in_from;

    uint64_t looked_at; /* bytes written in sum when the disk was looked at */
    uint64_t total;
    bool low; /* the disk is nearly full */
};

/* spool.c */
void spool_close(int *fd); /* leaves -1 */
struct spool_log *spool_log_add(struct wh_spool *s, enum wh_spool_kind kind, const char *step_id,
                                const char *name);
void spool_extend(struct wh_spool *s, struct spool_log *log, uint64_t from, uint64_t len);
void spool_segment_add(struct wh_spool *s, uint64_t from, uint64_t len);
void spool_segment_name(uint64_t from, char name[32]);
void spool_text_name(size_t number, char name[32]);
void spool_take_step(struct wh_spool *s, cJSON *step); /* takes it over */
uint64_t spool_count_lines(const char *data, size_t len);
int spool_open_regular(int dir, const char *name, int flags, struct wh_error *err);

/* spool_read.c: segments that nobody wants any more go */
void spool_release(struct wh_spool *s);

/* spool_journal.c: each adds one line */
int spool_journal_start(struct wh_spool *s, struct wh_error *err);
void spool_journal_log(struct wh_spool *s, size_t number);
void spool_journal_to(struct wh_spool *s);
void spool_journal_segment(struct wh_spool *s);
void spool_journal_end(struct wh_spool *s, size_t number);
void spool_journal_mark(struct wh_spool *s, size_t number, enum wh_spool_consumer consumer);
void spool_journal_step(struct wh_spool *s, const cJSON *step);
/* Rebuilds logs, extents and marks from the journal and the files of an opened folder. */
int spool_replay(struct wh_spool *s, struct wh_error *err);

#endif
