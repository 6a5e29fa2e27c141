/* wherry doctor: what each check says. */
#ifndef WH_CMD_DOCTOR_H
#define WH_CMD_DOCTOR_H

#include "wherry/base/str.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
    char *state;  /* the state folder, absolute; may not exist yet */
    bool offline; /* ask nobody on the network */
    bool json;
    struct doctor_line {
        enum doctor_level level;
        char *what, *found, *advice; /* advice: what to do, or NULL */
    } * lines;
    size_t nlines;
};

/* found as in printf; advice NULL where there is nothing to do. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *what, const char *advice,
                const char *found, ...) WH_PRINTF(5, 6);

void doctor_kernel(struct doctor *d); /* doctor_kernel.c: what the kernel lets us do, by doing it */
void doctor_tools(struct doctor *d);  /* doctor_box.c: crun or runc, git, sub-ids */
void doctor_disk(struct doctor *d);
void doctor_service(struct doctor *d); /* doctor_service.c: reachability and the clock */

#endif
