/* Commits of released actions: workflows pin them instead of tags. */
#ifndef WH_ACTIONS_RELEASES_H
#define WH_ACTIONS_RELEASES_H

/* The tag ("v4.2.2") of a commit of repository (any case, 40 hex digits); NULL if it is not in the table. */
const char *wh_action_release_of(const char *repository, const char *commit);

#endif
